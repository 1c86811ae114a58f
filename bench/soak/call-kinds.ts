import { once } from "node:events";
import { type ClientHttp2Session, constants } from "node:http2";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { ModelInferRequestSchema } from "../../gen/inference/grpc_service_pb.ts";
import { type CallEnd, GrpcStream } from "./grpc-stream.ts";
import type { Random } from "./random.ts";

const service = "/inference.GRPCInferenceService";

/** Contents of a request and the bytes that the answer must hold. */
interface Sample {
  readonly message: Uint8Array;
  readonly contents: Buffer;
}

function identitySample(floats: number): Sample {
  const values = Float32Array.from({ length: floats }, (_, index) => index * 0.5 + floats);
  const contents = Buffer.from(values.buffer);
  const message = create(ModelInferRequestSchema, {
    modelName: "identity_fp32",
    inputs: [{ name: "x", datatype: "FP32", shape: [1n, BigInt(floats)] }],
    rawInputContents: [contents],
  });
  return { message: toBinary(ModelInferRequestSchema, message), contents };
}

const small = [1, 4, 100, 1_000].map(identitySample);
const middle = [20_000, 150_000].map(identitySample);
const large = [1_000_000, 2_000_000].map(identitySample);

function slowMessage(rounds: bigint): Uint8Array {
  return toBinary(
    ModelInferRequestSchema,
    create(ModelInferRequestSchema, {
      modelName: "slow",
      inputs: [{ name: "rounds", datatype: "INT64", shape: [] }],
      rawInputContents: [Buffer.from(BigInt64Array.of(rounds).buffer)],
    }),
  );
}

const slow = slowMessage(100n);
const empty = new Uint8Array(0);

/** Where a call is made. */
export interface CallPlace {
  readonly port: number;
  readonly session: ClientHttp2Session;
  readonly random: Random;
}

/** How a call ended: as it should have, or the words for what is wrong. */
export type CallVerdict =
  | "well"
  | {
      readonly wrong: string;
      /** The stream was refused before anything was done for it, so it may be sent again. */
      readonly isRefused?: boolean;
    };

/** One kind of call; resolves when nothing of it is left on this side. */
export interface CallKind {
  readonly name: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  make(place: CallPlace): Promise<CallVerdict>;
}

function expectStatus(end: CallEnd, ...allowed: readonly string[]): CallVerdict {
  if (end.status !== undefined && allowed.includes(end.status)) return "well";
  return {
    wrong: `grpc-status ${end.status ?? "missing"} (${end.message ?? ""}), reset ${end.resetCode}; expected ${allowed.join(" or ")}`,
    isRefused: end.status === undefined && isLateCode(end.resetCode),
  };
}

/**
 * Codes of a stream that came too late for a connection that is being closed: refused, or what node:http2
 * gives the streams of a connection that the server left when it had answered all that came before the
 * client's GOAWAY.
 */
function isLateCode(code: number | undefined): boolean {
  return code === constants.NGHTTP2_REFUSED_STREAM || code === constants.NGHTTP2_INTERNAL_ERROR;
}

function expectContents(end: CallEnd, samples: readonly Sample[]): CallVerdict {
  const status = expectStatus(end, "0");
  if (status !== "well") return status;
  if (end.messages.length !== samples.length) {
    return { wrong: `${end.messages.length} answers, expected ${samples.length}` };
  }
  const wrong = samples.findIndex(
    ({ contents }, index) => !end.messages[index]!.includes(contents),
  );
  return wrong === -1 ? "well" : { wrong: `answer ${wrong} has other contents than the request` };
}

/** A unary call to its end. */
async function unary(place: CallPlace, sample: Sample, timeout?: string): Promise<CallEnd> {
  const call = new GrpcStream(place.session, `${service}/ModelInfer`, timeout);
  call.send(sample.message);
  call.finish();
  return call.ended();
}

/** A pause of 0 to `ms`, or none. */
async function pause(random: Random, ms: number): Promise<void> {
  if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
  else await wait(random.whole(ms));
}

/** All that is done to the server. */
export const callKinds: readonly CallKind[] = [
  {
    name: "live",
    weight: 20,
    async make({ session }) {
      const call = new GrpcStream(session, `${service}/ServerLive`);
      call.send(empty);
      call.finish();
      return expectStatus(await call.ended(), "0");
    },
  },
  {
    name: "small unary",
    weight: 30,
    async make(place) {
      const sample = place.random.of(small);
      return expectContents(await unary(place, sample), [sample]);
    },
  },
  {
    name: "middle unary",
    weight: 8,
    async make(place) {
      const sample = place.random.of(middle);
      return expectContents(await unary(place, sample), [sample]);
    },
  },
  {
    name: "large unary",
    weight: 1,
    async make(place) {
      const sample = place.random.of(large);
      return expectContents(await unary(place, sample), [sample]);
    },
  },
  {
    name: "unary with a deadline that holds",
    weight: 10,
    async make(place) {
      const sample = place.random.of(small);
      return expectContents(await unary(place, sample, "60S"), [sample]);
    },
  },
  {
    name: "unary with a deadline that passes",
    weight: 10,
    async make({ session, random }) {
      const call = new GrpcStream(
        session,
        `${service}/ModelInfer`,
        random.of(["0n", "1u", "1m", "10m"]),
      );
      if (random.chance(0.3)) call.send(slow, 20);
      else {
        call.send(random.chance(0.5) ? slow : random.of(middle).message);
        if (random.chance(0.7)) call.finish();
      }
      return expectStatus(await call.ended(), "4", "0");
    },
  },
  {
    name: "unary cancelled",
    weight: 12,
    async make({ session, random }) {
      const call = new GrpcStream(session, `${service}/ModelInfer`, random.of([undefined, "60S"]));
      call.send(random.chance(0.2) ? slow : random.of([...small, ...middle, large[0]!]).message);
      if (random.chance(0.7)) call.finish();
      await pause(random, 20);
      call.cancel();
      await call.ended();
      return "well";
    },
  },
  {
    name: "upload cut in its middle",
    weight: 8,
    async make({ session, random }) {
      const call = new GrpcStream(session, `${service}/ModelInfer`);
      const { message } = random.of([...middle, large[0]!]);
      call.send(message, random.whole(message.byteLength));
      await pause(random, 10);
      call.cancel();
      await call.ended();
      return "well";
    },
  },
  {
    name: "stream",
    weight: 8,
    async make({ session, random }) {
      const call = new GrpcStream(session, `${service}/ModelStreamInfer`);
      const samples = Array.from({ length: 1 + random.whole(8) }, () =>
        random.chance(0.1) ? random.of(middle) : random.of(small),
      );
      const inTurn = random.chance(0.5);
      for (const [index, sample] of samples.entries()) {
        call.send(sample.message);
        if (inTurn) await call.received(index + 1);
      }
      call.finish();
      return expectContents(await call.ended(), samples);
    },
  },
  {
    name: "stream cancelled",
    weight: 8,
    async make({ session, random }) {
      const call = new GrpcStream(
        session,
        `${service}/ModelStreamInfer`,
        random.of([undefined, "9S"]),
      );
      const count = random.whole(6);
      for (let index = 0; index < count; index++)
        call.send(random.of([...small, ...middle]).message);
      if (random.chance(0.5)) await call.received(random.whole(count + 1));
      else await pause(random, 10);
      call.cancel();
      await call.ended();
      return "well";
    },
  },
  {
    name: "stream whose deadline passes",
    weight: 4,
    async make({ session, random }) {
      const call = new GrpcStream(session, `${service}/ModelStreamInfer`, "20m");
      call.send(random.of(small).message);
      return expectStatus(await call.ended(), "4");
    },
  },
  {
    name: "watch left",
    weight: 4,
    async make({ session, random }) {
      const call = new GrpcStream(session, "/grpc.health.v1.Health/Watch");
      call.send(empty);
      call.finish();
      await call.received(1);
      await pause(random, 30);
      call.cancel();
      const { messages, resetCode } = await call.ended();
      if (messages.length > 0) return "well";
      const isRefused = resetCode === constants.NGHTTP2_REFUSED_STREAM;
      return { wrong: `Watch said nothing, reset ${resetCode}`, isRefused };
    },
  },
  {
    name: "unknown model",
    weight: 3,
    async make({ session }) {
      const call = new GrpcStream(session, `${service}/ModelReady`);
      call.send(Buffer.from([0x0a, 4, 0x6e, 0x6f, 0x6e, 0x65]));
      call.finish();
      return expectStatus(await call.ended(), "5", "0");
    },
  },
  {
    name: "REST",
    weight: 6,
    async make({ port, random }) {
      const leaves = random.chance(0.3);
      const abort = new AbortController();
      const answer = fetch(`http://127.0.0.1:${port}/v2/models/identity_fp32/infer`, {
        method: "POST",
        headers: { "content-type": "application/json", connection: "close" },
        body: JSON.stringify({
          inputs: [{ name: "x", datatype: "FP32", shape: [1, 3], data: [1, 2.5, 4] }],
        }),
        signal: abort.signal,
      }).then(
        async (response) => [response.status, await response.text()] as const,
        () => undefined,
      );
      if (leaves) {
        await pause(random, 5);
        abort.abort();
        await answer;
        return "well";
      }
      const given = await answer;
      if (given?.[0] === 200 && /1,\s*2\.5,\s*4/.test(given[1])) return "well";
      return { wrong: `REST gave ${given?.[0] ?? "no answer"}: ${given?.[1].slice(0, 200) ?? ""}` };
    },
  },
  {
    name: "junk on a socket of its own",
    weight: 3,
    async make({ port, random }) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      const closed = once(socket, "close").catch(() => {});
      const bytes = Buffer.from(Array.from({ length: random.whole(300) }, () => random.whole(256)));
      const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
      socket.write(
        random.chance(0.5)
          ? Buffer.concat([preface, bytes])
          : preface.subarray(0, random.whole(preface.byteLength + 1)),
      );
      socket.resume();
      await pause(random, 20);
      if (random.chance(0.5)) socket.destroy();
      else socket.resetAndDestroy();
      await closed;
      return "well";
    },
  },
];
