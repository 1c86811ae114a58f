import {
  DataType,
  ModelSequenceBatching_Control_Kind as Kind,
  type ModelSequenceBatching,
  type ModelSequenceBatching_Control,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import type { Datatype, FixedSizeDatatype } from "../../tensor/datatype.ts";
import { datatypeOfConfig } from "../model-config/data-type.ts";

/** An input by which a model is told yes or no. */
export interface FlagControl {
  readonly input: string;
  readonly datatype: FixedSizeDatatype;
  /** The element that stands for false, and the one for true; little-endian. */
  readonly no: Uint8Array;
  readonly yes: Uint8Array;
}

/** The input by which a model is told the id of the sequence. */
export interface IdControl {
  readonly input: string;
  readonly datatype: "UINT64" | "INT64" | "UINT32" | "INT32" | "BYTES";
}

/** What a model wants to be told about the sequence of each row, all optional. */
export interface Controls {
  readonly start: FlagControl | undefined;
  readonly ready: FlagControl | undefined;
  readonly end: FlagControl | undefined;
  readonly id: IdControl | undefined;
}

const flagKinds = {
  start: Kind.CONTROL_SEQUENCE_START,
  ready: Kind.CONTROL_SEQUENCE_READY,
  end: Kind.CONTROL_SEQUENCE_END,
} as const;

const idDatatypes: readonly Datatype[] = ["UINT64", "INT64", "UINT32", "INT32", "BYTES"];

/**
 * Reads `control_input`.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID` for a kind that two inputs carry, an input that carries two,
 * or values that say neither false nor true
 */
export function readControls(model: string, { controlInput }: ModelSequenceBatching): Controls {
  const byKind = new Map<
    Kind,
    { readonly input: string; control: ModelSequenceBatching_Control }
  >();
  for (const { name, control: controls } of controlInput) {
    if (name === "") throw modelConfigInvalid(model, "has a control_input without a name");
    const [control] = controls;
    if (!control || controls.length > 1) {
      throw modelConfigInvalid(
        model,
        `has ${controls.length} controls for control_input "${name}", expected one`,
      );
    }
    const other = byKind.get(control.kind);
    if (other) {
      throw modelConfigInvalid(
        model,
        `has ${kindName(control.kind)} both in control_input "${other.input}" and in "${name}"`,
      );
    }
    if ([...byKind.values()].some(({ input }) => input === name)) {
      throw modelConfigInvalid(model, `names control_input "${name}" more than once`);
    }
    byKind.set(control.kind, { input: name, control });
  }
  const flag = (kind: Kind): FlagControl | undefined => {
    const given = byKind.get(kind);
    return given && readFlag(model, given.input, given.control);
  };
  const id = byKind.get(Kind.CONTROL_SEQUENCE_CORRID);
  return {
    start: flag(flagKinds.start),
    ready: flag(flagKinds.ready),
    end: flag(flagKinds.end),
    id: id && readId(model, id.input, id.control),
  };
}

function readFlag(
  model: string,
  input: string,
  { kind, int32FalseTrue, fp32FalseTrue, boolFalseTrue, dataType }: ModelSequenceBatching_Control,
): FlagControl {
  const lists: FlagControl[] = [];
  let values = 0;
  const add = (
    datatype: FixedSizeDatatype,
    given: readonly unknown[],
    elements: readonly Uint8Array[],
  ): void => {
    if (given.length === 0) return;
    values = given.length;
    lists.push({ input, datatype, no: elements[0]!, yes: elements[1]! });
  };
  add(
    "INT32",
    int32FalseTrue,
    int32FalseTrue.map((value) => littleEndian("setInt32", value)),
  );
  add(
    "FP32",
    fp32FalseTrue,
    fp32FalseTrue.map((value) => littleEndian("setFloat32", value)),
  );
  add(
    "BOOL",
    boolFalseTrue,
    boolFalseTrue.map((value) => Uint8Array.of(value ? 1 : 0)),
  );
  const [flag] = lists;
  if (!flag || lists.length > 1 || values !== 2) {
    throw modelConfigInvalid(
      model,
      `must give ${kindName(kind)} of control_input "${input}" one of int32_false_true, fp32_false_true and bool_false_true, with two values`,
    );
  }
  if (dataType !== DataType.TYPE_INVALID) {
    throw modelConfigInvalid(
      model,
      `gives ${kindName(kind)} of control_input "${input}" a data_type, which is for CONTROL_SEQUENCE_CORRID`,
    );
  }
  return flag;
}

function readId(
  model: string,
  input: string,
  { dataType, int32FalseTrue, fp32FalseTrue, boolFalseTrue }: ModelSequenceBatching_Control,
): IdControl {
  const datatype = datatypeOfConfig(dataType);
  if (!datatype || !idDatatypes.includes(datatype)) {
    throw modelConfigInvalid(
      model,
      `must give CONTROL_SEQUENCE_CORRID of control_input "${input}" data_type TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 or TYPE_STRING`,
    );
  }
  if (int32FalseTrue.length + fp32FalseTrue.length + boolFalseTrue.length > 0) {
    throw modelConfigInvalid(
      model,
      `gives CONTROL_SEQUENCE_CORRID of control_input "${input}" values for false and true, which an id does not have`,
    );
  }
  return { input, datatype: datatype as IdControl["datatype"] };
}

function littleEndian(set: "setInt32" | "setFloat32", value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer)[set](0, value, true);
  return bytes;
}

function kindName(kind: Kind): string {
  return Object.entries(Kind).find(([, value]) => value === kind)?.[0] ?? String(kind);
}
