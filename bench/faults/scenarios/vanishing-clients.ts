import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { toBinary } from "@bufbuild/protobuf";
import { ModelInferRequestSchema } from "../../../gen/inference/grpc_service_pb.ts";
import { GrpcStream } from "../../soak/grpc-stream.ts";
import type { Random } from "../../soak/random.ts";
import { accountedClients } from "../accounted-client.ts";
import { AccountedLoad } from "../accounted-load.ts";
import { addSub, identity, lookup, slow, unruly } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import {
  accounted,
  addressOf,
  leavesNothing,
  type Scenario,
  sumOf,
  withFaultServer,
} from "../scenario.ts";

const path = "/inference.GRPCInferenceService/ModelInfer";
const clientsOfARound = 60;
const atOnce = 10;
const kinds = [addSub, identity, lookup, slow, unruly(""), unruly("wait")];

/** A connection with up to 10 calls, whole or cut, that is gone without a word. */
async function vanish(port: number, random: Random): Promise<void> {
  const socket = connectSocket(port, "127.0.0.1");
  socket.on("error", () => {});
  const session = connect(`http://127.0.0.1:${port}`, { createConnection: () => socket });
  session.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  for (let calls = 1 + random.whole(10); calls > 0; calls--) {
    const message = toBinary(ModelInferRequestSchema, random.of(kinds)(random).request);
    const stream = new GrpcStream(session, path);
    if (random.chance(0.3)) stream.send(message, random.whole(message.byteLength));
    else {
      stream.send(message);
      if (random.chance(0.9)) stream.finish();
    }
  }
  await wait(random.whole(30));
  // With a reset, or with the end of the process's socket as the kernel closes it.
  if (random.chance(0.5)) socket.resetAndDestroy();
  else socket.destroy();
  session.destroy();
  await closed;
}

/** Clients whose connection is gone in the middle of their calls, beside others that must not notice. */
export const vanishingClients: Scenario = {
  name: "vanishing-clients",
  about: `${clientsOfARound} clients a round are gone in the middle of their calls, twice; others must not notice`,
  run: ({ random, rounds }) =>
    withFaultServer([], async (server) => {
      const beside = new Ledger([]);
      const left = await leavesNothing(server, async () => {
        const load = new AccountedLoad(accountedClients(addressOf(server), beside, 2), {
          callsEach: 2,
          calls: [addSub, identity, lookup, slow, unruly("")],
          random,
        });
        let count = rounds * clientsOfARound;
        const loop = async (): Promise<void> => {
          while (count-- > 0) await vanish(server.port, random);
        };
        await Promise.all(Array.from({ length: atOnce }, loop));
        await load.answered(20);
        await load.end();
      });
      const waiting = await sumOf(server, "nv_inference_pending_request_count");
      const running = await sumOf(server, "tensorwire_model_running_requests");
      return [
        accounted("beside", beside, 40),
        {
          name: "no queue and no model holds a call",
          holds: waiting === 0 && running === 0,
          detail: `${waiting} wait, ${running} run`,
        },
        ...left,
      ];
    }),
};
