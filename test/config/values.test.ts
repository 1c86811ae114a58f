import test from "ava";
import fc from "fast-check";
import { formatValue } from "../../server/config/format-value.ts";
import { defaultOf, parseValue } from "../../server/config/parse-value.ts";
import { resolveSettings } from "../../server/config/resolve-settings.ts";
import type { Setting, SettingSource, SettingValue } from "../../server/config/setting.ts";
import { settingsByCommand } from "../../server/config/settings-by-command.ts";

const base = { group: "g", help: "h" } as const;
const word = fc.stringMatching(/^[^\s,]{1,12}$/);

/** A setting of every kind, and the values that it can have. */
const kinds: Readonly<Record<Setting["kind"], readonly [Setting, fc.Arbitrary<SettingValue>]>> = {
  text: [{ ...base, kind: "text" }, fc.string({ minLength: 1 })],
  path: [{ ...base, kind: "path" }, fc.string({ minLength: 1 })],
  integer: [
    { ...base, kind: "integer", default: 0, min: -1000, max: 1_000_000 },
    fc.integer({ min: -1000, max: 1_000_000 }),
  ],
  boolean: [{ ...base, kind: "boolean", default: false }, fc.boolean()],
  choice: [
    { ...base, kind: "choice", choices: ["a", "b", "c"], default: "a" },
    fc.constantFrom("a", "b", "c"),
  ],
  duration: [
    { ...base, kind: "duration", default: "1s" },
    fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  ],
  bytes: [{ ...base, kind: "bytes", default: "1" }, fc.maxSafeInteger().filter((n) => n > 0)],
  list: [{ ...base, kind: "list" }, fc.array(word)],
};

for (const [kind, [setting, values]] of Object.entries(kinds)) {
  test(`${kind}: what is written can be read back`, (t) => {
    fc.assert(
      fc.property(values, (value) => {
        t.deepEqual(parseValue(setting, formatValue(setting, value)), { value });
      }),
    );
  });
}

test("a value comes from the highest source that gives one, whatever the sources give", (t) => {
  const declared = {
    config: { ...base, kind: "path" },
    port: { ...base, kind: "integer", default: 1, min: 0, max: 9999 },
  } as const;
  const given = fc.option(fc.integer({ min: 0, max: 9999 }), { nil: undefined });
  fc.assert(
    fc.property(given, given, given, (flag, variable, key) => {
      const { values, sources } = resolveSettings(declared, {
        argv: ["--config", "file", ...(flag === undefined ? [] : ["--port", `${flag}`])],
        env: variable === undefined ? {} : { TENSORWIRE_PORT: `${variable}` },
        readFile: () => (key === undefined ? "" : `port: ${key}`),
      });
      const expected: [SettingSource, number] =
        flag !== undefined
          ? ["flag", flag]
          : variable !== undefined
            ? ["environment", variable]
            : key !== undefined
              ? ["file", key]
              : ["default", 1];
      t.deepEqual([sources.port, values.port], expected);
    }),
  );
});

const times: readonly (readonly [string, number])[] = [
  ["0", 0],
  ["0s", 0],
  ["500ms", 500],
  ["1.5s", 1500],
  ["1.1s", 1100],
  ["10s", 10_000],
  ["5m", 300_000],
  ["2h", 7_200_000],
];
for (const [text, ms] of times) {
  test(`the time ${text} is ${ms} ms`, (t) => {
    t.deepEqual(parseValue(kinds.duration[0], text), { value: ms });
  });
}

const sizes: readonly (readonly [string, number])[] = [
  ["512", 512],
  ["64KiB", 65_536],
  ["64MiB", 67_108_864],
  ["1.5 GiB", 1_610_612_736],
  ["1kB", 1000],
  ["1MB", 1_000_000],
  ["2g", 2_000_000_000],
];
for (const [text, bytes] of sizes) {
  test(`the size ${text} is ${bytes} bytes`, (t) => {
    t.deepEqual(parseValue(kinds.bytes[0], text), { value: bytes });
  });
}

const impossible: readonly (readonly [Setting["kind"], string])[] = [
  ["text", ""],
  ["integer", "1e3"],
  ["integer", "1000001"],
  ["integer", "0x10"],
  ["integer", " 1"],
  ["boolean", "maybe"],
  ["choice", "A"],
  ["duration", "30"],
  ["duration", "-1s"],
  ["duration", "1d"],
  ["duration", "597h"],
  ["bytes", "0"],
  ["bytes", "-1"],
  ["bytes", "0.2"],
  ["bytes", "1XiB"],
  ["bytes", "99999999GiB"],
];
for (const [kind, text] of impossible) {
  test(`${kind}: ${JSON.stringify(text)} is refused`, (t) => {
    t.true("expected" in parseValue(kinds[kind][0], text));
  });
}

test("a secret is not written", (t) => {
  t.is(formatValue({ ...base, kind: "text", secret: true }, "hunter2"), "***");
});

test("the default of every setting is a value that it can have", (t) => {
  for (const settings of Object.values(settingsByCommand)) {
    for (const [flag, setting] of Object.entries<Setting>(settings)) {
      const value = defaultOf(setting);
      if (value === undefined || setting.kind === "list") continue;
      t.deepEqual(parseValue(setting, formatValue(setting, value)), { value }, flag);
    }
  }
});

test("no two settings of a command share a flag or a variable", (t) => {
  for (const settings of Object.values(settingsByCommand)) {
    const names = Object.entries<Setting>(settings).flatMap(([flag, setting]) => [
      flag,
      ...(setting.aliases ?? []),
      ...(setting.kind === "boolean" ? [`no-${flag}`, ...(setting.opposites ?? [])] : []),
    ]);
    t.is(new Set(names).size, names.length);
  }
});

test("a size may be 0 where 0 means something, which the refusal of others names", (t) => {
  const setting: Setting = { ...base, kind: "bytes", default: "0", zero: "nothing is kept" };
  t.deepEqual(parseValue(setting, "0"), { value: 0 });
  t.deepEqual(parseValue(setting, "64KiB"), { value: 65536 });
  for (const text of ["-1", "0.2"]) {
    const refused = parseValue(setting, text);
    t.regex("expected" in refused ? refused.expected : "", /or 0: nothing is kept/);
  }
});
