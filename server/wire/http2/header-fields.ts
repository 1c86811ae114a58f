import type { HeaderField } from "./hpack/header-field.ts";
import type { OutgoingField } from "./hpack/hpack-encoder.ts";

/** Fields that speak of an HTTP/1.1 connection and must not be sent (RFC 9113, section 8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** Header fields as Connect takes them. Cookies that came in pieces are joined (section 8.2.3). */
export function fieldsToHeaders(fields: readonly HeaderField[]): Headers {
  const headers = new Headers();
  let cookies: string | undefined;
  for (const { name, value } of fields) {
    if (name === "cookie") cookies = cookies === undefined ? value : `${cookies}; ${value}`;
    else headers.append(name, value);
  }
  if (cookies !== undefined) headers.set("cookie", cookies);
  return headers;
}

/** Header fields to send; those that HTTP/2 does not have are left out. */
export function fieldsOf(headers: Headers | undefined): OutgoingField[] {
  const fields: OutgoingField[] = [];
  headers?.forEach((value, name) => {
    if (!connectionFields.has(name)) fields.push([name, value]);
  });
  return fields;
}
