// Frames of HTTP/2 made by hand for tests: nothing here is shared with the engine under test.

/** Types of frames (RFC 9113, section 6). */
export const rawType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Flags of frames. */
export const rawFlag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Error codes (section 7), by the names that the RFC gives them. */
export const rawCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

/** Identifiers of settings (section 6.5.2). */
export const rawSetting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** What a client sends first (section 3.4). */
export const rawPreface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Bytes before a payload. */
export const rawHeadBytes = 9;

/** A frame that was read. */
export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

const none = Buffer.alloc(0);

/**
 * Any frame, also one that no peer may send.
 *
 * @param length - what its header says; by default the payload's true length
 */
export function rawFrame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = none,
  length: number = payload.byteLength,
): Buffer {
  const bytes = Buffer.allocUnsafe(rawHeadBytes + payload.byteLength);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId >>> 0, 5);
  bytes.set(payload, rawHeadBytes);
  return bytes;
}

/** Payload of four bytes, big-endian. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function settingsFrame(...settings: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(6 * settings.length);
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  }
  return rawFrame(rawType.settings, 0, 0, payload);
}

export const settingsAck: Buffer = rawFrame(rawType.settings, rawFlag.ack, 0);

export function pingFrame(payload: Uint8Array = Buffer.alloc(8), flags = 0): Buffer {
  return rawFrame(rawType.ping, flags, 0, payload);
}

export function resetFrame(streamId: number, code: number = rawCode.CANCEL): Buffer {
  return rawFrame(rawType.rstStream, 0, streamId, uint32(code));
}

export function windowUpdateFrame(streamId: number, increment: number): Buffer {
  return rawFrame(rawType.windowUpdate, 0, streamId, uint32(increment));
}

/** Says that a stream depends on another with weight 16. */
export function priorityFrame(streamId: number, parent = 0): Buffer {
  return rawFrame(
    rawType.priority,
    0,
    streamId,
    Buffer.concat([uint32(parent), Buffer.from([15])]),
  );
}

export function dataFrame(streamId: number, payload: Uint8Array = none, flags = 0): Buffer {
  return rawFrame(rawType.data, flags, streamId, payload);
}

/** HEADERS; by default with END_HEADERS and END_STREAM. */
export function headersFrame(
  streamId: number,
  block: Uint8Array,
  flags: number = rawFlag.endHeaders | rawFlag.endStream,
): Buffer {
  return rawFrame(rawType.headers, flags, streamId, block);
}

export function continuationFrame(streamId: number, block: Uint8Array = none, flags = 0): Buffer {
  return rawFrame(rawType.continuation, flags, streamId, block);
}

const typeNames = Object.keys(rawType);
const codeNames = Object.keys(rawCode);

/** Name of an error code, for messages. */
export function nameOfCode(code: number): string {
  return codeNames[code] ?? `code ${code}`;
}

/** The error code that RST_STREAM or GOAWAY carry. */
export function codeOf(frame: RawFrame): number {
  return frame.payload.readUInt32BE(frame.type === rawType.goAway ? 4 : 0);
}

/** `GOAWAY(ENHANCE_YOUR_CALM)`, `DATA 3 flags 1 (512 bytes)`. */
export function describeFrame(frame: RawFrame): string {
  const { type, flags, streamId, payload } = frame;
  const name = (typeNames[type] ?? `type ${type}`).replace(/[A-Z]/g, "_$&").toUpperCase();
  if (type === rawType.goAway) {
    return `GOAWAY(${nameOfCode(codeOf(frame))}, last stream ${payload.readUInt32BE(0)})`;
  }
  if (type === rawType.rstStream) return `RST_STREAM ${streamId} (${nameOfCode(codeOf(frame))})`;
  return `${name} ${streamId} flags ${flags} (${payload.byteLength} bytes)`;
}
