import { execFileSync } from "node:child_process";
import test from "ava";
import { type SampleModel, sampleCalls, sampleSize } from "../../server/cli/sample-calls.ts";
import type { TensorSpec } from "../../server/predictor/signature.ts";
import type { Datatype } from "../../server/tensor/datatype.ts";

const url = "http://127.0.0.1:8080";

function input(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  optional = false,
): TensorSpec {
  return { name, datatype, shape, optional, labels: [] };
}

function model(...inputs: TensorSpec[]): SampleModel {
  return { name: "it's a model", inputs };
}

/** Runs a command in a shell where grpcurl and curl print what they get: arguments, then stdin. */
function printed(command: string): { args: string[]; stdin: string } {
  const stub = (name: string): string =>
    `${name}() { for argument in "$@"; do printf '%s\\0' "$argument"; done; printf '\\0'; case "$*" in *@*) cat;; esac; };`;
  const output = execFileSync("sh", ["-c", `${stub("grpcurl")} ${stub("curl")} ${command}`], {
    encoding: "latin1",
  });
  const end = output.indexOf("\0\0");
  return { args: output.slice(0, end).split("\0"), stdin: output.slice(end + 2) };
}

test("a short call is written out, and the shell hands it on as it is", (t) => {
  const calls = sampleCalls(model(input("in'put", "FP32", [-1, 4])), url)!;
  const grpcurl = printed(calls.grpcurl).args;
  t.deepEqual(grpcurl.slice(0, 2), ["-plaintext", "-d"]);
  t.deepEqual(JSON.parse(grpcurl[2]!), {
    model_name: "it's a model",
    inputs: [
      {
        name: "in'put",
        datatype: "FP32",
        shape: [1, 4],
        contents: { fp32_contents: [5.1, 3.5, 1.4, 0.2] },
      },
    ],
  });
  t.deepEqual(grpcurl.slice(3), ["127.0.0.1:8080", "inference.GRPCInferenceService/ModelInfer"]);
  const curl = printed(calls.curl).args;
  t.deepEqual(curl.slice(0, 3), ["-s", `${url}/v2/models/it's%20a%20model/infer`, "-d"]);
  t.deepEqual(JSON.parse(curl[3]!), {
    inputs: [{ name: "in'put", datatype: "FP32", shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }],
  });
});

test("a long call sends zeros that the shell makes", (t) => {
  const calls = sampleCalls(model(input("100% \\image", "FP32", [-1, 8, 8])), url)!;
  const grpcurl = printed(calls.grpcurl);
  t.deepEqual(grpcurl.args.slice(0, 3), ["-plaintext", "-d", "@"]);
  t.deepEqual(JSON.parse(grpcurl.stdin), {
    model_name: "it's a model",
    inputs: [{ name: "100% \\image", datatype: "FP32", shape: [1, 8, 8] }],
    raw_input_contents: [Buffer.alloc(256).toString("base64")],
  });
  const curl = printed(calls.curl);
  const length = /Inference-Header-Content-Length: (\d+)/.exec(curl.args.join("\n"))![1];
  const json = JSON.parse(curl.stdin.slice(0, Number(length)));
  t.deepEqual(json.inputs[0].parameters, { binary_data_size: 256 });
  t.is(curl.stdin.slice(Number(length)), "\0".repeat(256));
});

test("half floats go raw over gRPC, which has no typed contents for them", (t) => {
  const calls = sampleCalls(model(input("x", "FP16", [2])), url)!;
  const request = JSON.parse(printed(calls.grpcurl).stdin);
  t.deepEqual(request.raw_input_contents, [Buffer.alloc(4).toString("base64")]);
});

test("texts go as base64 over gRPC and as they are over REST", (t) => {
  const calls = sampleCalls(model(input("x", "BYTES", [-1])), url)!;
  const request = JSON.parse(printed(calls.grpcurl).args[2]!);
  t.deepEqual(request.inputs[0].contents, { bytes_contents: [btoa("text")] });
  t.deepEqual(JSON.parse(printed(calls.curl).args[3]!).inputs[0].data, ["text"]);
});

test("optional inputs are left out, and a model of many texts has no sample", (t) => {
  const calls = sampleCalls(model(input("a", "BOOL", [1]), input("b", "FP32", [1], true)), url)!;
  t.deepEqual(
    JSON.parse(printed(calls.curl).args[3]!).inputs.map(({ name }: TensorSpec) => name),
    ["a"],
  );
  t.is(sampleCalls(model(input("x", "BYTES", [33])), url), undefined);
  t.is(sampleSize(model(input("a", "BOOL", [1]), input("b", "FP32", [-1, 2, 3]))), 7);
});

test("calls over TLS accept the certificate as it is", (t) => {
  const calls = sampleCalls(model(input("x", "INT8", [1])), "https://127.0.0.1:8443")!;
  t.is(printed(calls.grpcurl).args[0], "-insecure");
  t.true(printed(calls.curl).args.includes("-k"));
});

test("a model that answers in a stream is called by what reads one", (t) => {
  const inputs = [
    input("text_input", "BYTES", [1]),
    input("n", "INT32", [2]),
    input("o", "BOOL", [1], true),
  ];
  const calls = sampleCalls({ ...model(...inputs), decoupled: true }, url)!;
  t.is(printed(calls.grpcurl).args.at(-1), "inference.GRPCInferenceService/ModelStreamInfer");
  const { args } = printed(calls.curl);
  t.deepEqual(args.slice(0, 3), ["-sN", `${url}/v2/models/it's%20a%20model/generate_stream`, "-d"]);
  t.deepEqual(JSON.parse(args[3]!), { text_input: "text", n: [1, 1] });
  t.regex(calls.typescript, /client\.inferStream\(requests\)/);
  t.is(sampleCalls({ ...model(input("x", "FP32", [99])), decoupled: true }, url), undefined);
});
