import test from "ava";
import { checkServeValues } from "../../server/cli/serve-values.ts";
import { resolveSettings } from "../../server/config/resolve-settings.ts";
import { serveSettings } from "../../server/config/serve-settings.ts";

function check(argv: readonly string[], repositories: readonly string[] = ["models"]): void {
  const { values } = resolveSettings(serveSettings, { argv, env: {}, readFile: () => "" });
  checkServeValues(values, repositories);
}

const contradictions = [
  [["--tls-cert", "a"], /--tls-cert and --tls-key belong together/],
  [["--tls-key", "a"], /--tls-cert and --tls-key belong together/],
  [["--tls-client-ca", "a"], /--tls-client-ca needs --tls-cert/],
  [["--load-model", "a"], /--load-model means something in --model-control-mode explicit only/],
  [["--replicas", "2..1"], /--replicas: got 2..1, expected LEAST..MOST/],
  [["--replicas", "0..2", "--workers", "2"], /--replicas and --workers both say/],
  [["--replica-window", "5s"], /--replica-window: got 5000 ms, expected 6s to 1h/],
  [["--replica-window", "2h"], /--replica-window: got 7200000 ms, expected 6s to 1h/],
] as const;

for (const [argv, message] of contradictions) {
  test(`${argv.join(" ")} alone is refused`, (t) => {
    t.throws(() => check(argv), { message });
  });
}

test("a repository is needed", (t) => {
  t.throws(() => check([], []), { message: /no model repository is given/ });
});

test("what belongs together is accepted", (t) => {
  t.notThrows(() => check(["--tls-cert", "a", "--tls-key", "b", "--tls-client-ca", "c"]));
  t.notThrows(() => check(["--load-model", "a", "--model-control-mode", "explicit"]));
});

test("all contradictions are told at once", (t) => {
  const error = t.throws(() => check(["--tls-cert", "a", "--load-model", "b"], []));
  t.is(error?.message.split("\n").length, 3);
});
