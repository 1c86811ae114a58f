import { parameterInvalid } from "../../errors/request-errors.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { FlagControl, IdControl } from "./read-controls.ts";
import type { SequencePlan } from "./sequence-plan.ts";
import type { StepRequest } from "./step.ts";

const encoder = new TextEncoder();

/** Smallest and largest id that the datatype of the id's input can hold. */
const idRanges = {
  UINT64: [0n, 2n ** 64n - 1n],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
  UINT32: [0n, 2n ** 32n - 1n],
  INT32: [-(2n ** 31n), 2n ** 31n - 1n],
} as const;

/** The tensors by which a model is told of the sequence of a row; they are made once. */
export class ControlTensors {
  /** For a row without a call: not ready, no id. */
  readonly notReady: readonly Tensor[];
  readonly #steps: readonly (readonly Tensor[])[];
  readonly #id: IdControl | undefined;
  readonly #shape: readonly number[];

  constructor({ controls, batched }: Pick<SequencePlan, "controls" | "batched">) {
    const { start, ready, end, id } = controls;
    this.#shape = batched ? [1, 1] : [1];
    this.#id = id;
    const flags = (starts: "no" | "yes", isReady: "no" | "yes", ends: "no" | "yes"): Tensor[] => [
      ...(start ? [this.#flag(start, starts)] : []),
      ...(ready ? [this.#flag(ready, isReady)] : []),
      ...(end ? [this.#flag(end, ends)] : []),
    ];
    this.#steps = [
      flags("no", "yes", "no"),
      flags("yes", "yes", "no"),
      flags("no", "yes", "yes"),
      flags("yes", "yes", "yes"),
    ];
    const nobody = id && this.ofId(id.datatype === "BYTES" ? "" : 0n);
    this.notReady = [...flags("no", "no", "no"), ...(nobody ?? [])];
  }

  /** For a row with a call, but for its id. */
  ofStep({ start, end }: Pick<StepRequest, "start" | "end">): readonly Tensor[] {
    return this.#steps[(start ? 1 : 0) + (end ? 2 : 0)]!;
  }

  /**
   * The id of a sequence, if the model wants it.
   *
   * @throws TensorwireError `PARAMETER_INVALID` for an id that the input cannot hold
   */
  ofId(id: bigint | string): readonly Tensor[] {
    const control = this.#id;
    if (!control) return [];
    const { input: name, datatype } = control;
    const shape = this.#shape;
    if (datatype === "BYTES") {
      if (typeof id !== "string") {
        throw parameterInvalid("sequence_id", String(id), "a string, which this model asks for");
      }
      return [{ name, datatype, shape, elements: [encoder.encode(id)] }];
    }
    const [least, most] = idRanges[datatype];
    if (typeof id === "string" || id < least || id > most) {
      throw parameterInvalid(
        "sequence_id",
        typeof id === "string" ? JSON.stringify(id) : String(id),
        `an integer up to ${most}, which this model asks for`,
      );
    }
    const bytes = new Uint8Array(datatype.endsWith("64") ? 8 : 4);
    const view = new DataView(bytes.buffer);
    if (bytes.byteLength === 8) view.setBigUint64(0, BigInt.asUintN(64, id), true);
    else view.setUint32(0, Number(BigInt.asUintN(32, id)), true);
    return [{ name, datatype, shape, bytes }];
  }

  #flag({ input: name, datatype, no, yes }: FlagControl, value: "no" | "yes"): Tensor {
    return { name, datatype, shape: this.#shape, bytes: value === "yes" ? yes : no };
  }
}
