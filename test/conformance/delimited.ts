import type { Readable, Writable } from "node:stream";

/** Bytes before each message that the suite sends and takes: its length, big-endian. */
const prefixBytes = 4;

/** Reads one message. @throws Error if the stream ends before it is whole */
export async function readDelimited(stream: Readable): Promise<Buffer> {
  const message = await readNext(stream);
  if (!message) throw new Error("the stream ended before the message");
  return message;
}

/** Reads the next message; `undefined` at the end of the stream. */
export async function readNext(stream: Readable): Promise<Buffer | undefined> {
  const prefix = await readExactly(stream, prefixBytes);
  if (!prefix) return undefined;
  const length = prefix.readUInt32BE();
  return length === 0 ? Buffer.alloc(0) : readExactly(stream, length);
}

export function writeDelimited(stream: Writable, message: Uint8Array): void {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.byteLength);
  stream.write(Buffer.concat([prefix, message]));
}

async function readExactly(stream: Readable, bytes: number): Promise<Buffer | undefined> {
  for (;;) {
    const read = stream.read(bytes) as Buffer | null;
    if (read) return read.length === bytes ? read : undefined;
    if (stream.readableEnded) return undefined;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off("readable", done);
        stream.off("end", done);
        resolve();
      };
      stream.once("readable", done);
      stream.once("end", done);
    });
  }
}
