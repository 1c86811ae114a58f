import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  decodeModelInferRequest,
  encodeModelInferRequest,
  encodeModelInferRequestParts,
} from "../../../gen/inference/grpc_service_codec.ts";
import { ModelInferRequestSchema } from "../../../gen/inference/grpc_service_pb.ts";
import { nanosPerCall } from "../time-function.ts";

// The generated codec beside protobuf-es: decoding and encoding of requests.
//
//     taskset -c 1 node bench/micro/codec/model-infer.ts

const floats = new Float32Array(150_000).map((_, index) => index / 7);
const cases = {
  "iris, raw": request([1n, 4n], { raw: new Uint8Array(16) }),
  "iris, typed": request([1n, 4n], { typed: [5.1, 3.5, 1.4, 0.2] }),
  "600 KB, raw": request([150_000n], { raw: new Uint8Array(floats.buffer) }),
  "600 KB, typed": request([150_000n], { typed: Array.from(floats) }),
};

for (const [name, message] of Object.entries(cases)) {
  const bytes = toBinary(ModelInferRequestSchema, message);
  const own = decodeModelInferRequest(bytes);
  if (!Buffer.from(encodeModelInferRequest(own)).equals(bytes)) throw new Error(`${name} differs`);
  const iterations = name.endsWith("typed") && bytes.length > 1000 ? 5 : 2_000;
  const time = (run: () => unknown): number => nanosPerCall(run, { iterations, repeats: 7 }) / 1000;
  report(`${name}: decode`, [
    time(() => decodeModelInferRequest(bytes)),
    time(() => fromBinary(ModelInferRequestSchema, bytes)),
  ]);
  report(`${name}: encode`, [
    time(() => encodeModelInferRequestParts(own)),
    time(() => toBinary(ModelInferRequestSchema, message)),
  ]);
}

function request(shape: bigint[], { raw, typed }: { raw?: Uint8Array; typed?: number[] }) {
  return create(ModelInferRequestSchema, {
    modelName: "iris",
    inputs: [
      {
        name: "input",
        datatype: "FP32",
        shape,
        ...(typed ? { contents: { fp32Contents: typed } } : {}),
      },
    ],
    rawInputContents: raw ? [raw] : [],
  });
}

function report(name: string, [ours, theirs]: readonly number[]): void {
  const ratio = (theirs! / ours!).toFixed(1);
  console.log(
    `${name}: ${ours!.toFixed(2)} us, protobuf-es ${theirs!.toFixed(2)} us, ${ratio} times`,
  );
}
