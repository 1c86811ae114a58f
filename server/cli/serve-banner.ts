import type { IndexRow } from "../predictor/repository/repository.ts";
import { servingModel } from "../predictor/repository/repository.ts";
import type { ServedModel } from "../predictor/served-model.ts";
import type { TensorSpec } from "../predictor/signature.ts";
import { shapeText } from "../tensor/shape.ts";
import { textTable } from "./text-table.ts";

/** What the start-up screen shows. */
export interface BannerOptions {
  readonly version: string;
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  readonly unixPath: string | undefined;
  readonly rows: readonly IndexRow[];
  readonly startMs: number;
  /** A page that the server shows under `/`. */
  readonly page: boolean;
}

/** The start-up screen: address, models, and calls to copy. */
export function serveBanner(options: BannerOptions): string {
  const { rows, url } = options;
  const models = rows.flatMap(({ state }) => servingModel(state) ?? []);
  const failed = rows.flatMap(({ name, version, state }) =>
    state.kind === "failed" ? [{ name, version, why: state.error.message }] : [],
  );
  const lines = [
    "",
    `Tensorwire ${options.version} listens on ${url} for gRPC, gRPC-Web, Connect and REST (started in ${Math.round(options.startMs)} ms)`,
  ];
  if (options.unixPath !== undefined) lines.push(`and on the unix socket ${options.unixPath}`);
  if (options.page) lines.push(`Page: ${url}/`);
  lines.push("");
  if (models.length > 0) {
    const table = models.map((model) => [
      model.name,
      model.version,
      ports(model.signature.inputs),
      ports(model.signature.outputs),
    ]);
    lines.push(textTable([["MODEL", "VERSION", "INPUTS", "OUTPUTS"], ...table], "  "));
  } else lines.push("  No model is loaded.");
  for (const { name, version, why } of failed) {
    lines.push("", `  FAILED ${name}${version === "" ? "" : ` version ${version}`}: ${why}`);
  }
  const example = models.find(hasSmallInputs);
  if (example)
    lines.push(
      "",
      "Call it:",
      ...calls(example, url).flatMap((call) => [
        "",
        ...call.split("\n").map((line) => `  ${line}`),
      ]),
    );
  lines.push("", "Stop with Ctrl-C.", "");
  return lines.join("\n");
}

function ports(specs: readonly TensorSpec[]): string {
  return specs
    .map(({ name, datatype, shape }) => `${name} ${datatype}${shapeText(shape)}`)
    .join(", ");
}

/** Inputs whose sample fits in a line. */
function hasSmallInputs({ signature }: ServedModel): boolean {
  return signature.inputs.every(
    (input) =>
      sampleShape(input).reduce((a, b) => a * b, 1) <= 32 &&
      !["BF16", "FP16"].includes(input.datatype),
  );
}

function sampleShape({ shape }: TensorSpec): number[] {
  return shape.map((dimension) => (dimension === -1 ? 1 : dimension));
}

/** Values that any model of these inputs takes; numbers that look like measurements. */
function sampleValues(input: TensorSpec): string[] {
  const count = sampleShape(input).reduce((a, b) => a * b, 1);
  const flower = ["5.1", "3.5", "1.4", "0.2"];
  return Array.from({ length: count }, (_, index) => {
    if (input.datatype === "BYTES") return '"text"';
    if (input.datatype === "BOOL") return "true";
    if (input.datatype.startsWith("FP")) return flower[index % flower.length]!;
    return "1";
  });
}

const contentsFields: Readonly<Record<string, string>> = {
  BOOL: "bool_contents",
  UINT8: "uint_contents",
  UINT16: "uint_contents",
  UINT32: "uint_contents",
  UINT64: "uint64_contents",
  INT8: "int_contents",
  INT16: "int_contents",
  INT32: "int_contents",
  INT64: "int64_contents",
  FP32: "fp32_contents",
  FP64: "fp64_contents",
  BYTES: "bytes_contents",
};

function calls({ name, signature }: ServedModel, url: string): string[] {
  const secure = url.startsWith("https:");
  const authority = url.replace(/^https?:\/\//, "");
  const inputs = signature.inputs.filter((input) => !input.optional);
  const grpc = inputs.map((input) => {
    // grpcurl writes bytes in base64.
    const values =
      input.datatype === "BYTES"
        ? sampleValues(input).map(() => JSON.stringify(btoa("text")))
        : sampleValues(input);
    return `{"name":"${input.name}","datatype":"${input.datatype}","shape":${shapeText(sampleShape(input))},"contents":{"${contentsFields[input.datatype]}":[${values.join(",")}]}}`;
  });
  const rest = inputs.map(
    (input) =>
      `{"name":"${input.name}","datatype":"${input.datatype}","shape":${shapeText(sampleShape(input))},"data":[${sampleValues(input).join(",")}]}`,
  );
  const tensors = inputs.map(
    (input) =>
      `${JSON.stringify(input.name)}: tensor(${shapeText(sampleShape(input))}, [${sampleValues(
        input,
      )
        .map((v) => (/64$/.test(input.datatype) && input.datatype !== "FP64" ? `${v}n` : v))
        .join(", ")}], "${input.datatype}")`,
  );
  return [
    `grpcurl ${secure ? "-insecure" : "-plaintext"} -d '{"model_name":"${name}","inputs":[${grpc.join(",")}]}' ${authority} inference.GRPCInferenceService/ModelInfer`,
    `curl ${secure ? "-k " : ""}${url}/v2/models/${encodeURIComponent(name)}/infer -d '{"inputs":[${rest.join(",")}]}'`,
    [
      'import { createClient, tensor } from "@tensorwire/client";',
      `const client = createClient("${url}");`,
      `console.log(await client.infer("${name}", { ${tensors.join(", ")} }));`,
    ].join("\n"),
  ];
}
