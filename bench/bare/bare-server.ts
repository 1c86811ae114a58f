// The same heap as ours: else collections of what is read would be measured.
import "../../server/cli/heap-flags.ts";
import { readdirSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Tensor } from "onnxruntime-node";
import {
  type NativeSession,
  openNativeSession,
} from "../../server/predictor/engines/onnx/native-session.ts";
import { type BareCallHeader, readHeader } from "./bare-call-header.ts";

// The peer "bare": reads the contents of FP32 inputs from a socket, runs ONNX Runtime, and writes the
// contents of the outputs. Requests of a connection come one behind the other, and are answered in order.
//
//     node bench/bare/bare-server.ts --models FOLDER --port N

const { values } = parseArgs({ options: { models: { type: "string" }, port: { type: "string" } } });
const { models, port } = values;
if (!models || !port) throw new Error("give --models FOLDER and --port N");

const sessions = new Map<string, NativeSession>();
for (const entry of readdirSync(models, { withFileTypes: true })) {
  if (!entry.isDirectory()) continue;
  const session = openNativeSession(join(models, entry.name, "1", "model.onnx"), {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionProviders: ["cpu"],
  });
  sessions.set(entry.name, session);
}

/** What a connection asks for, again and again. */
class Requests {
  readonly #session: NativeSession;
  readonly #feeds: Record<string, Tensor> = {};
  readonly #fetches: Record<string, null> = {};
  /** Bytes of the inputs, which the runtime reads in place. */
  readonly #inputs: Uint8Array[] = [];
  readonly #outputs: readonly string[];
  #input = 0;
  #filled = 0;

  constructor({ model, inputs, outputs }: BareCallHeader) {
    const session = sessions.get(model);
    if (!session) throw new Error(`there is no model "${model}"`);
    this.#session = session;
    this.#outputs = outputs;
    for (const output of outputs) this.#fetches[output] = null;
    for (const { name, datatype, shape } of inputs) {
      if (datatype !== "FP32") throw new Error(`input "${name}" is ${datatype}, expected FP32`);
      const elements = new Float32Array(shape.reduce((product, size) => product * size, 1));
      this.#feeds[name] = new Tensor("float32", elements, shape);
      this.#inputs.push(new Uint8Array(elements.buffer));
    }
  }

  /** Takes what was read, and gives the contents of the answers that are due. */
  take(bytes: Uint8Array): Uint8Array[] {
    const answers: Uint8Array[] = [];
    for (let at = 0; at < bytes.byteLength; ) {
      const input = this.#inputs[this.#input]!;
      const part = bytes.subarray(at, at + input.byteLength - this.#filled);
      input.set(part, this.#filled);
      at += part.byteLength;
      this.#filled += part.byteLength;
      if (this.#filled < input.byteLength) break;
      this.#filled = 0;
      if (++this.#input < this.#inputs.length) continue;
      this.#input = 0;
      const results = this.#session.run(this.#feeds, this.#fetches, {});
      for (const output of this.#outputs) {
        const { buffer, byteOffset, byteLength } = results[output]!.data as Float32Array;
        answers.push(new Uint8Array(buffer, byteOffset, byteLength));
      }
    }
    return answers;
  }
}

function serve(socket: Socket): void {
  const opening: Buffer[] = [];
  let requests: Requests | undefined;
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    let contents: Uint8Array = bytes;
    if (!requests) {
      opening.push(bytes);
      const found = readHeader(Buffer.concat(opening));
      if (!found) return;
      requests = new Requests(found.header);
      contents = found.rest;
    }
    socket.cork();
    for (const part of requests.take(contents)) socket.write(part);
    socket.uncork();
  });
}

createServer({ noDelay: true }, serve).listen(Number(port), "127.0.0.1");
process.once("SIGTERM", () => process.exit());
