import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  ModelProtoSchema,
  TensorProto_DataType,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../gen/onnx/onnx_pb.ts";

const fixtures = fileURLToPath(new URL("../../test/fixtures/models", import.meta.url));
const unruly = fileURLToPath(new URL("unruly/model.ts", import.meta.url));

/** Values that the model "lookup" knows: the squares of 0 to 999. */
export const lookupSize = 1000;

/**
 * Writes a repository: add_sub, identity_fp32 and slow of the fixtures; lookup, whose runs fail for an index
 * that it does not have; unruly, a model in TypeScript that does what it is told.
 */
export function writeFaultModels(folder: string): void {
  for (const name of ["add_sub", "identity_fp32", "slow"]) {
    cpSync(join(fixtures, name), join(folder, name), { recursive: true });
  }
  mkdirSync(join(folder, "lookup", "1"), { recursive: true });
  writeFileSync(join(folder, "lookup", "1", "model.onnx"), lookupModel());
  mkdirSync(join(folder, "unruly", "1"), { recursive: true });
  cpSync(unruly, join(folder, "unruly", "1", "model.ts"));
  writeFileSync(
    join(folder, "unruly", "config.pbtxt"),
    'backend: "typescript" parameters { key: "heap_limit_mib" value { string_value: "64" } }\n',
  );
}

function lookupModel(): Uint8Array {
  const squares = BigInt64Array.from({ length: lookupSize }, (_, index) => BigInt(index) ** 2n);
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: {
      name: "lookup",
      node: [{ opType: "Gather", input: ["squares", "x"], output: ["y"] }],
      initializer: [
        {
          name: "squares",
          dims: [BigInt(lookupSize)],
          dataType: TensorProto_DataType.INT64,
          rawData: new Uint8Array(squares.buffer),
        },
      ],
      input: [rowsOf("x")],
      output: [rowsOf("y")],
    },
  });
  return toBinary(ModelProtoSchema, model);
}

function rowsOf(name: string): ValueInfoProto {
  const dim = [{ value: { case: "dimParam" as const, value: "n" } }];
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: { elemType: TensorProto_DataType.INT64, shape: { dim } },
      },
    },
  });
}
