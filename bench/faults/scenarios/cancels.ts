import { type ClientHttp2Session, connect } from "node:http2";
import { setTimeout as wait } from "node:timers/promises";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ModelInferRequestSchema,
  ModelInferResponseSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { GrpcStream } from "../../soak/grpc-stream.ts";
import { accountedClients } from "../accounted-client.ts";
import { AccountedLoad } from "../accounted-load.ts";
import { addSub, identity, lookup, slow, unruly, wrongOf } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import {
  accounted,
  addressOf,
  type FaultRun,
  leavesNothing,
  type Scenario,
  sumOf,
  withFaultServer,
} from "../scenario.ts";

const path = "/inference.GRPCInferenceService/ModelInfer";
const cancelsOfARound = 500;
const connections = 4;
const underWay = 40;
const kinds = [addSub, identity, lookup, slow, unruly(""), unruly("wait")];

/**
 * Cancels a call at some time between its beginning and its end. With node:http2: @grpc/grpc-js 1.14.7 does
 * not always reset the stream of a call that is cancelled soon after it began.
 */
async function cancelOne(
  session: ClientHttp2Session,
  ledger: Ledger,
  { random }: FaultRun,
): Promise<void> {
  const call = random.of(kinds)(random);
  ledger.begun++;
  const stream = new GrpcStream(session, path);
  stream.send(toBinary(ModelInferRequestSchema, call.request));
  if (random.chance(0.8)) stream.finish();
  if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
  else await wait(random.whole(10));
  stream.cancel();
  const { status, message, messages } = await stream.ended();
  const [answer] = messages;
  if (status === undefined) ledger.failed("cancelled", "");
  else if (status !== "0" || !answer) ledger.wrong(`${call.model}: status ${status}, ${message}`);
  else {
    const wrong = wrongOf(call, fromBinary(ModelInferResponseSchema, answer));
    if (wrong === undefined) ledger.answered++;
    else ledger.wrong(wrong);
  }
}

/** Calls that are cancelled at any point, beside others that must not notice. */
export const cancels: Scenario = {
  name: "cancels",
  about: `${cancelsOfARound} calls a round are cancelled at any point, twice; others must not notice`,
  run: (run) =>
    withFaultServer([], async (server) => {
      const cancelled = new Ledger(["cancelled"]);
      const beside = new Ledger([]);
      const left = await leavesNothing(server, async () => {
        const load = new AccountedLoad(accountedClients(addressOf(server), beside, 2), {
          callsEach: 2,
          calls: [addSub, identity, lookup, slow, unruly("")],
          random: run.random,
        });
        const sessions = Array.from({ length: connections }, () =>
          connect(`http://${addressOf(server)}`, {
            // Node counts what cancelled uploads held for ever, and refuses streams from 10 MB on.
            maxSessionMemory: 1_000,
          }),
        );
        let count = run.rounds * cancelsOfARound;
        const loop = async (session: ClientHttp2Session): Promise<void> => {
          while (count-- > 0) await cancelOne(session, cancelled, run);
        };
        await Promise.all(
          Array.from({ length: underWay }, (_, index) => loop(sessions[index % connections]!)),
        );
        for (const session of sessions) session.close();
        await load.answered(20);
        await load.end();
      });
      const waiting = await sumOf(server, "nv_inference_pending_request_count");
      const running = await sumOf(server, "tensorwire_model_running_requests");
      return [
        accounted("cancelled", cancelled, 0),
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
