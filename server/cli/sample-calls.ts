import type { TensorSpec } from "../predictor/signature.ts";
import { elementSize } from "../tensor/datatype.ts";
import { elementCount, shapeText } from "../tensor/shape.ts";

/** A model to call. */
export interface SampleModel {
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  /** It gives any number of answers to a call, which come as a stream. */
  readonly decoupled?: boolean;
}

/** The same call in three forms that can be pasted. */
export interface SampleCalls {
  readonly grpcurl: string;
  readonly curl: string;
  readonly typescript: string;
}

/** An input with every free dimension 1. */
interface Sample {
  readonly name: string;
  readonly datatype: TensorSpec["datatype"];
  readonly shape: readonly number[];
  readonly count: number;
}

/** Elements that are written out; more of them are sent as zeros. */
const maxWrittenElements = 32;
const floats = [5.1, 3.5, 1.4, 0.2];

const contentsFields: Readonly<Record<TensorSpec["datatype"], string | undefined>> = {
  BOOL: "bool_contents",
  UINT8: "uint_contents",
  UINT16: "uint_contents",
  UINT32: "uint_contents",
  UINT64: "uint64_contents",
  INT8: "int_contents",
  INT16: "int_contents",
  INT32: "int_contents",
  INT64: "int64_contents",
  // The protocol has no typed contents for these two.
  FP16: undefined,
  BF16: undefined,
  FP32: "fp32_contents",
  FP64: "fp64_contents",
  BYTES: "bytes_contents",
};

/** Elements of a sample call. */
export function sampleSize({ inputs }: SampleModel): number {
  return samplesOf(inputs).reduce((sum, { count }) => sum + count, 0);
}

/**
 * Makes calls of a model, with values that its inputs take.
 *
 * @param url - of the server
 * @returns `undefined` for a model that takes more than can be written out, and takes it as strings or as
 *   a stream
 */
export function sampleCalls(model: SampleModel, url: string): SampleCalls | undefined {
  const { name, inputs, decoupled = false } = model;
  const samples = samplesOf(inputs);
  const mustBeWritten = samples.filter(({ datatype }) => decoupled || datatype === "BYTES");
  if (!mustBeWritten.every(isWritten)) return undefined;
  return decoupled
    ? {
        grpcurl: grpcurl(name, samples, url, "ModelStreamInfer"),
        curl: generateCurl(name, samples, url),
        typescript: streamTypescript(name, samples, url),
      }
    : {
        grpcurl: grpcurl(name, samples, url, "ModelInfer"),
        curl: curl(name, samples, url),
        typescript: typescript(name, samples, url),
      };
}

function samplesOf(inputs: readonly TensorSpec[]): Sample[] {
  return inputs
    .filter(({ optional }) => !optional)
    .map(({ name, datatype, shape: declared }) => {
      const shape = declared.map((dimension) => (dimension === -1 ? 1 : dimension));
      return { name, datatype, shape, count: elementCount(shape) };
    });
}

function isWritten({ count }: Sample): boolean {
  return count <= maxWrittenElements;
}

function valuesOf({ datatype, count }: Sample): (number | boolean | string)[] {
  return Array.from({ length: count }, (_, index) => {
    if (datatype === "BYTES") return "text";
    if (datatype === "BOOL") return true;
    return datatype.includes("FP") || datatype === "BF16" ? floats[index % floats.length]! : 1;
  });
}

function grpcurl(
  model: string,
  samples: readonly Sample[],
  url: string,
  rpc: "ModelInfer" | "ModelStreamInfer",
): string {
  const tls = url.startsWith("https:") ? "-insecure" : "-plaintext";
  const method = `${url.replace(/^https?:\/\//, "")} inference.GRPCInferenceService/${rpc}`;
  if (samples.every((sample) => isWritten(sample) && contentsFields[sample.datatype])) {
    const inputs = samples.map((sample) => {
      const values = valuesOf(sample);
      // JSON writes bytes in base64.
      const contents = sample.datatype === "BYTES" ? values.map((text) => btoa(`${text}`)) : values;
      return { ...portOf(sample), contents: { [contentsFields[sample.datatype]!]: contents } };
    });
    return `grpcurl ${tls} -d ${quote(JSON.stringify({ model_name: model, inputs }))} ${method}`;
  }
  const request = JSON.stringify({
    model_name: model,
    inputs: samples.map(portOf),
    raw_input_contents: samples.map(() => "%s"),
  });
  const zeros = samples.map((sample) => `"$(${zerosOf(sample)} | base64 | tr -d '\\n')"`);
  return `printf ${quote(formatSafe(request))} ${zeros.join(" ")} | grpcurl ${tls} -d @ ${method}`;
}

function curlOf(options: string, url: string, model: string, route: string): string {
  const tls = url.startsWith("https:") ? "-k " : "";
  const path = `${url}/v2/models/${encodeURIComponent(model)}/${route}`;
  return `curl ${options} ${tls}${/^[\w.:/%-]+$/.test(path) ? path : quote(path)}`;
}

function generateCurl(model: string, samples: readonly Sample[], url: string): string {
  const inputs = samples.map((sample) => {
    const values = valuesOf(sample);
    return [sample.name, values.length === 1 ? values[0] : values];
  });
  const body = JSON.stringify(Object.fromEntries(inputs));
  return `${curlOf("-sN", url, model, "generate_stream")} -d ${quote(body)}`;
}

function curl(model: string, samples: readonly Sample[], url: string): string {
  const command = curlOf("-s", url, model, "infer");
  if (samples.every(isWritten)) {
    const inputs = samples.map((sample) => ({ ...portOf(sample), data: valuesOf(sample) }));
    return `${command} -d ${quote(JSON.stringify({ inputs }))}`;
  }
  const json = JSON.stringify({
    inputs: samples.map((sample) => ({
      ...portOf(sample),
      parameters: { binary_data_size: byteLength(sample) },
    })),
  });
  const body = [`printf %s ${quote(json)}`, ...samples.map(zerosOf)].join("; ");
  return `(${body}) | ${command} -H 'Inference-Header-Content-Length: ${Buffer.byteLength(json)}' --data-binary @-`;
}

function typescript(model: string, samples: readonly Sample[], url: string): string {
  return [
    'import { createClient, tensor } from "@tensorwire/client";',
    `const client = createClient("${url}");`,
    `const { outputs } = await client.infer(${JSON.stringify(model)}, ${tsInputs(samples)});`,
    "console.log(outputs);",
  ].join("\n");
}

function streamTypescript(model: string, samples: readonly Sample[], url: string): string {
  return [
    'import { createClient, tensor } from "@tensorwire/client";',
    `const client = createClient("${url}");`,
    `const requests = [{ model: ${JSON.stringify(model)}, inputs: ${tsInputs(samples)} }];`,
    "for await (const { result, error } of client.inferStream(requests)) console.log(error ?? result.outputs);",
  ].join("\n");
}

function tsInputs(samples: readonly Sample[]): string {
  const inputs = samples.map((sample) => {
    const { name, datatype, shape } = sample;
    return `${JSON.stringify(name)}: tensor(${shapeText(shape)}, ${tsValues(sample)}, "${datatype}")`;
  });
  return `{ ${inputs.join(", ")} }`;
}

function tsValues(sample: Sample): string {
  const wide = sample.datatype === "INT64" || sample.datatype === "UINT64";
  if (!isWritten(sample)) return `new Array(${sample.count}).fill(${wide ? "0n" : zeroOf(sample)})`;
  const values = valuesOf(sample).map((value) => `${JSON.stringify(value)}${wide ? "n" : ""}`);
  return `[${values.join(", ")}]`;
}

function zeroOf({ datatype }: Sample): string {
  return datatype === "BOOL" ? "false" : "0";
}

function portOf({ name, datatype, shape }: Sample): {
  name: string;
  datatype: string;
  shape: readonly number[];
} {
  return { name, datatype, shape };
}

function byteLength({ datatype, count }: Sample): number {
  return count * elementSize(datatype);
}

function zerosOf(sample: Sample): string {
  return `head -c ${byteLength(sample)} /dev/zero`;
}

/** Guards a text against printf's own signs, but for `"%s"`. */
function formatSafe(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("%", "%%").replaceAll('"%%s"', '"%s"');
}

/** Quotes a text for a POSIX shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
