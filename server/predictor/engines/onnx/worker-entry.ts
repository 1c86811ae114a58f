import { parentPort } from "node:worker_threads";
import { toPortable } from "../../../errors/portable-error.ts";
import { packTensors, unpackTensor } from "../../../tensor/packed-tensor.ts";
import { measureGrowth } from "../memory-growth.ts";
import { prepareRuntime } from "./native-session.ts";
import { OnnxSession } from "./onnx-session.ts";
import type { WorkerAnswer, WorkerRequest } from "./worker-messages.ts";

// The body of a worker thread: sessions by number, one request after the other.

const sessions = new Map<number, OnnxSession>();
const port = parentPort;
if (!port) throw new Error("worker-entry runs in a worker thread only");

type WorkerCall = Exclude<WorkerRequest, { readonly kind: "end" }>;

// Loading yields to the event loop, so requests are chained to keep their order.
let last: Promise<void> = Promise.resolve();
port.on("message", (request: WorkerRequest) => {
  if (request.kind === "end") process.exit();
  last = last.then(() => answer(request));
});

async function answer(request: WorkerCall): Promise<void> {
  try {
    const { message, transfer } = await perform(request);
    port?.postMessage(message, transfer);
  } catch (error) {
    port?.postMessage({
      kind: "failed",
      id: request.id,
      error: toPortable(error),
    } satisfies WorkerAnswer);
  }
}

async function perform(
  request: WorkerCall,
): Promise<{ readonly message: WorkerAnswer; readonly transfer?: ArrayBuffer[] }> {
  const { id, session: number } = request;
  switch (request.kind) {
    case "load": {
      // What the runtime takes for itself is no model's.
      prepareRuntime();
      const { value: session, bytes } = await measureGrowth(
        () => OnnxSession.load(request.options),
        request.measurements,
      );
      sessions.set(number, session);
      const { inputs, outputs, timeFollowsSize, isDeterministic, graphCache } = session;
      // Sessions that reuse memory which others freed grow the process by less than what they hold.
      const memoryBytes = Math.max(bytes, session.fileBytes);
      const found = { inputs, outputs, timeFollowsSize, isDeterministic, memoryBytes, graphCache };
      return { message: { kind: "loaded", id, ...found } };
    }
    case "run": {
      const session = sessions.get(number);
      if (!session) throw new Error(`session ${number} is not loaded in this worker`);
      const result = session.run(request.inputs.map(unpackTensor), request.outputNames);
      const { packed, transfer } = packTensors(result.outputs, "owned");
      return { message: { kind: "ran", id, outputs: packed, inferNs: result.inferNs }, transfer };
    }
    case "release": {
      sessions.get(number)?.release();
      sessions.delete(number);
      return { message: { kind: "released", id } };
    }
  }
}
