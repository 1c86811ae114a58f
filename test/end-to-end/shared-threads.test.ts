import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { startServer } from "../support/command.ts";
import {
  fp32Request,
  type GrpcJsClient,
  grpcJsClient,
  type Message,
} from "../support/grpc-js-client.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));

async function start(t: ExecutionContext, ...flags: readonly string[]): Promise<GrpcJsClient[]> {
  const server = await startServer(t, [fixtures, ...flags]);
  return [0, 1].map(() => {
    const client = grpcJsClient(server.address, "inference.GRPCInferenceService", {
      "grpc.use_local_subchannel_pool": 1,
    });
    t.teardown(() => client.close());
    return client;
  });
}

const slow: Message = {
  model_name: "slow",
  inputs: [{ name: "rounds", datatype: "INT64", shape: [] }],
  raw_input_contents: [Buffer.from(BigInt64Array.of(60n).buffer)],
};
const small = fp32Request("identity_fp32", "x", [1, 2], Float32Array.of(1, 2));

test("models that share a worker thread take turns: a flood of slow calls holds up another model for a few runs", async (t) => {
  const [client] = await start(t, "--model-threads", "1", "--execution", "worker");
  const order: string[] = [];
  const call = async (name: string, request: Message): Promise<void> => {
    await client!.call("ModelInfer", request);
    order.push(name);
  };
  await Promise.all([call("small", small), call("slow", slow)]);
  order.length = 0;
  // On one connection answers come in the order in which the server gave them.
  const flood = (): Promise<void>[] => Array.from({ length: 20 }, () => call("slow", slow));
  await Promise.all([...flood(), call("small", small), ...flood()]);
  t.is(order.length, 41);
  // Two runs are on their way to the thread when it comes, and a few may be over by then.
  t.true(order.indexOf("small") < 8, `${order.indexOf("small")} slow calls went before`);
});

test("a flood of a model in the thread of the sockets leaves others their turn, there and in a worker", async (t) => {
  const [one, other] = await start(t);
  const inFlight = 200;
  let answered = 0;
  let stopped = false;
  const loops = Array.from({ length: inFlight }, async () => {
    while (!stopped) {
      await one!.call("ModelInfer", small);
      answered++;
    }
  });
  const row = fp32Request("batch8", "x", [1, 2], Float32Array.of(1, 2));
  const rounds = { ...slow, raw_input_contents: [Buffer.from(BigInt64Array.of(1n).buffer)] };
  while (answered < inFlight) await other!.call("ModelInfer", row);
  for (const request of [row, rounds, row, rounds]) {
    const before = answered;
    await other!.call("ModelInfer", request);
    // Those that came before it, and as many as come while it is on its way there and back.
    t.true(answered - before <= 3 * inFlight, `${answered - before} calls went before`);
  }
  stopped = true;
  await Promise.all(loops);
});
