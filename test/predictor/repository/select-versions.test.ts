import { fromText } from "@bufbuild/protobuf/txtpb";
import test from "ava";
import fc from "fast-check";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { compareVersions } from "../../../server/predictor/repository/model-name.ts";
import { selectVersions } from "../../../server/predictor/repository/select-versions.ts";

const select = (policy: string, available: readonly string[]): string[] =>
  selectVersions("m", fromText(ModelConfigSchema, policy), available);

const available = ["1", "2", "9", "10", "11"];

test("without a policy, and with latest without a number, the newest is selected", (t) => {
  t.deepEqual(selectVersions("m", undefined, available), ["11"]);
  t.deepEqual(select("", available), ["11"]);
  t.deepEqual(select("version_policy { latest { } }", available), ["11"]);
});

test("latest takes the newest so many, all takes all, specific those that it names", (t) => {
  t.deepEqual(select("version_policy { latest { num_versions: 3 } }", available), [
    "9",
    "10",
    "11",
  ]);
  t.deepEqual(select("version_policy { latest { num_versions: 9 } }", available), available);
  t.deepEqual(select("version_policy { all { } }", available), available);
  t.deepEqual(select("version_policy { specific { versions: [10, 2] } }", available), ["2", "10"]);
});

test("a specific version that is not there is refused with those that are", (t) => {
  t.throws(() => select("version_policy { specific { versions: [2, 3, 4] } }", available), {
    message: /asks for version 3, 4, the folder has 1, 2, 9, 10, 11/,
  });
});

test("latest N is the N greatest numbers, whatever there is", (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 10_000 }), { maxLength: 12 }),
      fc.integer({ min: 1, max: 15 }),
      (numbers, count) => {
        const given = numbers.map(String).sort(compareVersions);
        const expected = numbers
          .toSorted((a, b) => b - a)
          .slice(0, count)
          .toSorted((a, b) => a - b);
        const selected = select(`version_policy { latest { num_versions: ${count} } }`, given);
        return JSON.stringify(selected.map(Number)) === JSON.stringify(expected);
      },
    ),
  );
  t.pass();
});
