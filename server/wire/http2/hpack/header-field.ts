/** What the tables add to the length of a field (RFC 7541, section 4.1). */
const overhead = 32;

/** One field of a header list. Its text holds bytes: each character is one of 0 to 255. */
export class HeaderField {
  readonly name: string;
  readonly value: string;
  /** Size by which tables and limits count. */
  readonly size: number;
  /** True once the field was found to be one that HTTP allows. */
  checked: boolean;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
    this.size = name.length + value.length + overhead;
    this.checked = false;
  }
}

/** A decoded header block. It is shared by all requests whose blocks are the same: do not change it. */
export class HeaderList {
  readonly fields: readonly HeaderField[];
  /** Sum of the sizes of all fields that were sent (RFC 9113, section 6.5.2). */
  readonly size: number;
  /** True if the size is over the limit; `fields` holds what came before. */
  readonly truncated: boolean;
  /** What the connection made of the fields, kept beside them. */
  head: unknown;

  constructor(fields: readonly HeaderField[], size: number, truncated: boolean) {
    this.fields = fields;
    this.size = size;
    this.truncated = truncated;
    this.head = undefined;
  }
}
