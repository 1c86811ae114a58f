import type {
  ModelConfig,
  ModelInput,
  ModelOutput,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import type { DeclaredPort } from "../engines/engine.ts";
import type { DeclaredModel } from "./complete-config.ts";
import { datatypeOfConfig } from "./data-type.ts";

/**
 * Inputs and outputs of a model that no file declares.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID` for one without data_type or dims, or if there is no output
 */
export function declaredByConfig(model: string, config: ModelConfig): DeclaredModel {
  const batched = config.maxBatchSize > 0;
  const port = (kind: "input" | "output", given: ModelInput | ModelOutput): DeclaredPort => {
    const { name, dataType } = given;
    const datatype = datatypeOfConfig(dataType);
    if (!datatype) throw modelConfigInvalid(model, `gives ${kind} "${name}" no data_type`);
    const dims = given.dims.map(Number);
    if (dims.length === 0 && !batched) {
      throw modelConfigInvalid(model, `gives ${kind} "${name}" no dims`);
    }
    const optional = "optional" in given && given.optional;
    return { name, datatype, shape: batched ? [-1, ...dims] : dims, optional, labels: [] };
  };
  if (config.output.length === 0) throw modelConfigInvalid(model, "names no output");
  return {
    inputs: config.input.map((given) => port("input", given)),
    outputs: config.output.map((given) => port("output", given)),
  };
}
