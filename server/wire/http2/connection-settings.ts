import {
  defaultMaxFrameBytes,
  defaultWindowBytes,
  errorCode,
  maxWindowBytes,
  settingId,
} from "./frame.ts";
import { ConnectionError } from "./http2-error.ts";

/** What a peer has said by SETTINGS, or the defaults (RFC 9113, section 6.5.2). */
export class PeerSettings {
  headerTableSize = 4096;
  enablePush = true;
  maxConcurrentStreams = Number.POSITIVE_INFINITY;
  initialWindowSize = defaultWindowBytes;
  maxFrameSize = defaultMaxFrameBytes;
  maxHeaderListSize = Number.POSITIVE_INFINITY;

  /**
   * Reads the payload of a SETTINGS frame.
   *
   * @throws ConnectionError PROTOCOL_ERROR or FLOW_CONTROL_ERROR for a value that is not allowed
   */
  read(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += 6) {
      this.#set(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
    }
  }

  #set(id: number, value: number): void {
    switch (id) {
      case settingId.headerTableSize:
        this.headerTableSize = value;
        return;
      case settingId.enablePush:
        if (value > 1) throw impossible("SETTINGS_ENABLE_PUSH", value, "0 or 1");
        this.enablePush = value === 1;
        return;
      case settingId.maxConcurrentStreams:
        this.maxConcurrentStreams = value;
        return;
      case settingId.initialWindowSize:
        if (value > maxWindowBytes) {
          throw new ConnectionError(
            errorCode.flowControlError,
            `SETTINGS_INITIAL_WINDOW_SIZE is ${value}, at most 2^31-1 is allowed`,
            "flow-control",
          );
        }
        this.initialWindowSize = value;
        return;
      case settingId.maxFrameSize:
        if (value < defaultMaxFrameBytes || value > 0xff_ffff) {
          throw impossible("SETTINGS_MAX_FRAME_SIZE", value, "2^14 to 2^24-1");
        }
        this.maxFrameSize = value;
        return;
      case settingId.maxHeaderListSize:
        this.maxHeaderListSize = value;
        return;
    }
  }
}

function impossible(name: string, value: number, expected: string): ConnectionError {
  return new ConnectionError(errorCode.protocolError, `${name} is ${value}, expected ${expected}`);
}

/** Payload of a SETTINGS frame. */
export function writeSettings(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return payload;
}
