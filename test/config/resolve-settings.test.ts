import test from "ava";
import { resolveSettings, type SettingInputs } from "../../server/config/resolve-settings.ts";
import { serveSettings } from "../../server/config/serve-settings.ts";
import type { Settings } from "../../server/config/setting.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";

const declared = {
  config: { kind: "path", group: "g", help: "h" },
  port: { kind: "integer", group: "g", help: "h", default: 8080, min: 0, max: 65535 },
  host: { kind: "text", group: "g", help: "h", default: "127.0.0.1" },
  name: { kind: "text", group: "g", help: "h", aliases: ["model_name"] },
  "dry-run": { kind: "boolean", group: "g", help: "h", default: false },
  banner: { kind: "boolean", group: "g", help: "h", default: true, opposites: ["quiet"] },
  mode: { kind: "choice", group: "g", help: "h", choices: ["none", "poll"], default: "none" },
  wait: { kind: "duration", group: "g", help: "h", default: "30s" },
  size: { kind: "bytes", group: "g", help: "h", default: "64MiB" },
  models: { kind: "list", group: "g", help: "h" },
  input: { kind: "list", separator: "none", group: "g", help: "h" },
  token: { kind: "choice", group: "g", help: "h", choices: ["a"], default: "a", secret: true },
} as const satisfies Settings;

function resolve(inputs: Partial<SettingInputs> & { files?: Record<string, string> }) {
  const { files = {}, ...rest } = inputs;
  return resolveSettings(declared, {
    argv: [],
    env: {},
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error(`no file ${path}`);
      return text;
    },
    ...rest,
  });
}

/** Lines of the refusal. */
function problems(inputs: Parameters<typeof resolve>[0]): string[] {
  try {
    resolve(inputs);
  } catch (error) {
    if (error instanceof TensorwireError && error.reason === "SETTING_INVALID")
      return error.message.split("\n");
    throw error;
  }
  return [];
}

test("without anything given every value is the default", (t) => {
  const { values, sources, positionals } = resolve({});
  t.deepEqual(values, {
    config: undefined,
    port: 8080,
    host: "127.0.0.1",
    name: undefined,
    "dry-run": false,
    banner: true,
    mode: "none",
    wait: 30_000,
    size: 64 * 1024 * 1024,
    models: [],
    input: [],
    token: "a",
  });
  t.true(Object.values(sources).every((source) => source === "default"));
  t.deepEqual(positionals, []);
});

test("values have the types of their declarations", (t) => {
  const { values } = resolve({});
  const port: number = values.port;
  const mode: "none" | "poll" = values.mode;
  const host: string = values.host;
  const name: string | undefined = values.name;
  const models: readonly string[] = values.models;
  t.deepEqual([port, mode, host, name, models], [8080, "none", "127.0.0.1", undefined, []]);
});

test("a flag counts before a variable, a variable before the file, the file before the default", (t) => {
  const files = { "s.yaml": "port: 1\nhost: file\nmode: poll\nsize: 3MiB" };
  const env = { TENSORWIRE_CONFIG: "s.yaml", TENSORWIRE_PORT: "2", TENSORWIRE_HOST: "env" };
  const { values, sources } = resolve({ argv: ["--port", "3"], env, files });
  t.like(values, { port: 3, host: "env", mode: "poll", size: 3 * 1024 * 1024, wait: 30_000 });
  t.like(sources, {
    port: "flag",
    host: "environment",
    mode: "file",
    wait: "default",
    config: "environment",
  });
});

test("--config counts before TENSORWIRE_CONFIG", (t) => {
  const files = { "a.yaml": "port: 1", "b.json": '{"port": 2}' };
  const { values } = resolve({
    argv: ["--config", "b.json"],
    env: { TENSORWIRE_CONFIG: "a.yaml" },
    files,
  });
  t.is(values.port, 2);
});

test("flags take their value behind a blank or an equals sign, and the last one counts", (t) => {
  const { values } = resolve({ argv: ["--port=1", "--port", "2", "--host=a=b"] });
  t.like(values, { port: 2, host: "a=b" });
});

test("a boolean is switched by its flag, its negation, and its opposites", (t) => {
  t.true(resolve({ argv: ["--dry-run"] }).values["dry-run"]);
  t.false(resolve({ argv: ["--dry-run", "--no-dry-run"] }).values["dry-run"]);
  t.true(resolve({ argv: ["--dry-run=yes"] }).values["dry-run"]);
  t.false(resolve({ argv: ["--no-banner"] }).values.banner);
  t.false(resolve({ argv: ["--quiet"] }).values.banner);
  t.false(resolve({ env: { TENSORWIRE_BANNER: "off" } }).values.banner);
});

test("a boolean takes no value from the next argument", (t) => {
  const { values, positionals } = resolve({ argv: ["--dry-run", "false"] });
  t.true(values["dry-run"]);
  t.deepEqual(positionals, ["false"]);
});

test("a list may be repeated and parted by commas, one without separator only repeated", (t) => {
  const { values } = resolve({
    argv: ["--models", "a, b", "--models", "c", "--input", "x=1,2", "--input", "y=3"],
  });
  t.deepEqual(values.models, ["a", "b", "c"]);
  t.deepEqual(values.input, ["x=1,2", "y=3"]);
});

test("an alias stands for its setting", (t) => {
  t.is(resolve({ argv: ["--model_name", "m"] }).values.name, "m");
});

test("arguments that are no flags, and all behind --, are positional", (t) => {
  const { positionals } = resolve({ argv: ["a", "--port", "1", "b", "--", "--port", "-x"] });
  t.deepEqual(positionals, ["a", "b", "--port", "-x"]);
});

test("negative numbers are values", (t) => {
  t.deepEqual(problems({ argv: ["--port", "-1"] }), [
    'flag --port: got "-1", expected a whole number from 0 to 65535',
  ]);
});

test("an unknown flag is refused with the nearest name", (t) => {
  t.deepEqual(problems({ argv: ["--prot", "1"] }), ["unknown flag --prot; did you mean --port?"]);
  t.deepEqual(problems({ argv: ["--no-baner"] }), [
    "unknown flag --no-baner; did you mean --no-banner?",
  ]);
  t.deepEqual(problems({ argv: ["--frobnicate"] }), ["unknown flag --frobnicate"]);
});

test("a short flag is refused", (t) => {
  t.deepEqual(problems({ argv: ["-abc"] }), ["unknown flag -abc; flags begin with two dashes"]);
});

test("a flag without its value is refused", (t) => {
  t.deepEqual(problems({ argv: ["--port"] }), ["flag --port needs a value"]);
  t.deepEqual(problems({ argv: ["--host", "--port", "1"] }), ["flag --host needs a value"]);
});

test("a negation takes no value", (t) => {
  t.deepEqual(problems({ argv: ["--no-banner=true"] }), ["flag --no-banner takes no value"]);
});

test("only booleans can be negated", (t) => {
  t.deepEqual(problems({ argv: ["--no-port"] }), ["unknown flag --no-port"]);
});

test("an unknown variable is refused with the nearest name", (t) => {
  t.deepEqual(problems({ env: { TENSORWIRE_PROT: "1" } }), [
    "unknown variable TENSORWIRE_PROT; did you mean TENSORWIRE_PORT?",
  ]);
});

test("variables of other programs, of other commands, and empty ones are let pass", (t) => {
  const env = { PATH: "/bin", TENSORWIRE_URL: "http://x", TENSORWIRE_HOST: "" };
  const { values } = resolve({ env, foreign: ["url"] });
  t.is(values.host, "127.0.0.1");
});

test("an unknown key of the file is refused with the nearest name, and config is none", (t) => {
  const files = { "s.yaml": "prot: 1\nconfig: x" };
  t.deepEqual(problems({ argv: ["--config", "s.yaml"], files }), [
    "unknown key prot of s.yaml; did you mean port?",
    "unknown key config of s.yaml",
  ]);
});

test("a value of the wrong form in the file is refused by its key", (t) => {
  const files = { "s.yaml": "port: [1]\nmodels: {a: 1}\nhost:\nwait: 30" };
  t.deepEqual(problems({ argv: ["--config", "s.yaml"], files }), [
    'key port of s.yaml: got "[1]", expected a plain value',
    'key models of s.yaml: got "{\\"a\\":1}", expected a list of texts',
    'key host of s.yaml: got "null", expected a plain value',
    'key wait of s.yaml: got "30", expected a time such as 500ms, 10s, 5m or 1h, at most 596h',
  ]);
});

test("a file takes lists, and texts with commas in them", (t) => {
  const files = { "s.yaml": "models: [a, 'b,c']" };
  t.deepEqual(resolve({ argv: ["--config", "s.yaml"], files }).values.models, ["a", "b,c"]);
});

test("a file that cannot be read, parsed, or holds no mapping is refused by its path", (t) => {
  t.deepEqual(problems({ argv: ["--config", "gone"] }), ["settings file gone: no file gone"]);
  const [broken] = problems({ argv: ["--config", "s"], files: { s: "a: [" } });
  t.regex(broken!, /^settings file s: /);
  t.deepEqual(problems({ argv: ["--config", "s"], files: { s: "- a" } }), [
    "settings file s: expected a mapping of settings to values",
  ]);
});

test("an empty file sets nothing", (t) => {
  t.is(resolve({ argv: ["--config", "s"], files: { s: "" } }).values.port, 8080);
});

test("all problems are told at once", (t) => {
  const given = {
    argv: ["--prot", "1", "--port", "x", "--config", "s"],
    env: { TENSORWIRE_MODE: "pol" },
    files: { s: "size: 0" },
  };
  t.deepEqual(problems(given), [
    "unknown flag --prot; did you mean --port?",
    'flag --port: got "x", expected a whole number from 0 to 65535',
    'variable TENSORWIRE_MODE: got "pol", expected one of none, poll; did you mean poll?',
    'key size of s: got "0", expected a size above 0 such as 65536, 64KiB, 64MiB or 1GiB',
  ]);
});

test("the value of a secret is not repeated", (t) => {
  const [problem] = problems({ env: { TENSORWIRE_TOKEN: "hunter2" } });
  t.is(problem, "variable TENSORWIRE_TOKEN: got a value, expected one of a");
});

test("the variables that Kubernetes makes for Services are no settings", (t) => {
  const links = {
    TENSORWIRE_PORT: "tcp://10.0.0.1:80",
    TENSORWIRE_SERVICE_HOST: "10.0.0.1",
    TENSORWIRE_SERVICE_PORT: "80",
    TENSORWIRE_SERVICE_PORT_HTTP: "80",
    TENSORWIRE_PORT_8080_TCP: "tcp://10.0.0.1:8080",
    TENSORWIRE_PORT_8080_TCP_PROTO: "tcp",
    TENSORWIRE_PORT_8080_TCP_PORT: "8080",
    TENSORWIRE_PORT_8080_TCP_ADDR: "10.0.0.1",
    // Of a Service named tensorwire-predictor.
    TENSORWIRE_PREDICTOR_PORT: "tcp://10.0.0.2:80",
    TENSORWIRE_PREDICTOR_SERVICE_HOST: "10.0.0.2",
    TENSORWIRE_PREDICTOR_PORT_80_TCP_ADDR: "10.0.0.2",
  };
  const { values, sources } = resolveSettings(serveSettings, {
    argv: [],
    env: links,
    readFile: () => "",
  });
  t.is(values.port, 8080);
  t.true(Object.values(sources).every((source) => source === "default"));
});

test("TENSORWIRE_PORT with a number is the setting, and with nonsense is refused", (t) => {
  t.is(resolve({ env: { TENSORWIRE_PORT: "9000" } }).values.port, 9000);
  t.is(problems({ env: { TENSORWIRE_PORT: "http://x" } }).length, 1);
});
