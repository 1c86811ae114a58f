import { TensorwireError } from "../errors/tensorwire-error.ts";
import {
  type ExecutionProvider,
  parseProvider,
} from "../predictor/engines/onnx/execution-providers.ts";
import type { PredictorOptions } from "../predictor/predictor.ts";
import type { ServeValues } from "./serve-values.ts";

/** What the settings say of how ONNX models run. */
export type OnnxValues = Pick<
  ServeValues,
  | "device"
  | "execution"
  | "execution-providers"
  | "graph-cache-dir"
  | "graph-cache-size"
  | "graph-optimization-level"
  | "intra-op-threads"
>;

/**
 * How ONNX models run, by the settings.
 *
 * @throws TensorwireError `SETTING_INVALID` for what is no execution provider
 */
export function onnxOptions(values: OnnxValues): PredictorOptions["onnx"] {
  const folder = values["graph-cache-dir"];
  return {
    execution: values.execution,
    intraOpThreads: values["intra-op-threads"],
    defaults: {
      providers: providersOf(values),
      graphLevel: values["graph-optimization-level"],
    },
    graphCache: folder === undefined ? undefined : { folder, maxBytes: values["graph-cache-size"] },
  };
}

/** `--execution-providers`, or else `--device`; the CPU takes what is left and need not be named. */
function providersOf(values: OnnxValues): readonly ExecutionProvider[] {
  const given = values["execution-providers"];
  const setting = given.length > 0 ? "execution-providers" : "device";
  const texts = given.length > 0 ? given : [values.device];
  const providers = texts.map((text) => {
    const provider = parseProvider(text);
    if (provider) return provider;
    throw new TensorwireError(
      "SETTING_INVALID",
      `setting ${setting}: got ${JSON.stringify(text)}, expected the name of an execution provider with the number of a device where it has several: cpu, cuda:0`,
      {},
    );
  });
  return providers.filter(({ name }) => name !== "cpu");
}
