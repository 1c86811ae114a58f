import test from "ava";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import {
  type ProbeAction,
  type ReadinessProbe,
  readProbes,
} from "../../../server/queue-proxy/readiness/read-probe.ts";
import { type Ask, createReadiness } from "../../../server/queue-proxy/readiness/readiness.ts";
import { recordingLog } from "../../support/silent-log.ts";
import { virtualClock } from "../../support/virtual-clock.ts";

const action: ProbeAction = { kind: "tcp", host: "h", port: 1 };
const single: ReadinessProbe = { action, successThreshold: 1, timeoutMs: 1000, aggressive: false };
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Probes whose answers are in a list. */
function scripted(probe: Partial<ReadinessProbe>, answers: readonly (string | undefined)[]) {
  const clock = virtualClock();
  const asked: number[] = [];
  const ask: Ask = async (_, timeoutMs) => {
    asked.push(timeoutMs);
    return answers[Math.min(asked.length - 1, answers.length - 1)];
  };
  return {
    clock,
    asked,
    ready: createReadiness([{ ...single, ...probe }], recordingLog(), clock, ask),
  };
}

test("without a probe the pod is ready", async (t) => {
  t.true(await createReadiness([], recordingLog(), virtualClock())());
});

test("a probe with a period is asked once, in its own time", async (t) => {
  const good = scripted({}, [undefined]);
  t.true(await good.ready());
  t.deepEqual(good.asked, [1000]);
  const bad = scripted({}, ["no"]);
  t.false(await bad.ready());
  t.is(bad.asked.length, 1);
});

test("one without a period is asked each 50 ms with 100 ms each, for ten seconds", async (t) => {
  const { clock, asked, ready } = scripted({ aggressive: true }, ["no", "no", undefined]);
  const answer = ready();
  for (let turn = 0; turn < 2; turn++) {
    await settle();
    t.deepEqual(clock.due(), [50]);
    clock.advance(50);
  }
  t.true(await answer);
  t.deepEqual(asked, [100, 100, 100]);
  const never = scripted({ aggressive: true }, ["no"]);
  let over: boolean | undefined;
  void never.ready().then((value) => {
    over = value;
  });
  for (let turn = 0; turn < 220 && over === undefined; turn++) {
    await settle();
    never.clock.advance(50);
  }
  await settle();
  t.is(over, false);
  t.true(never.asked.length >= 198 && never.asked.length <= 200, `${never.asked.length}`);
});

test("successes in a row are counted", async (t) => {
  const { clock, asked, ready } = scripted({ aggressive: true, successThreshold: 2 }, [
    undefined,
    "no",
    undefined,
    undefined,
  ]);
  const answer = ready();
  for (let turn = 0; turn < 4; turn++) {
    await settle();
    clock.advance(50);
  }
  t.true(await answer);
  t.is(asked.length, 4);
});

test("those who ask at the same time share an answer", async (t) => {
  const { asked, ready } = scripted({}, [undefined]);
  t.deepEqual(await Promise.all([ready(), ready(), ready()]), [true, true, true]);
  t.is(asked.length, 1);
  await ready();
  t.is(asked.length, 2);
});

test("probes of Kubernetes are read", (t) => {
  t.deepEqual(readProbes("", 8080), []);
  t.deepEqual(
    readProbes(
      '{"httpGet":{"path":"/ready","port":9,"httpHeaders":[{"name":"a","value":"b"}]}}',
      8080,
    ),
    [
      {
        action: {
          kind: "http",
          host: "127.0.0.1",
          port: 9,
          path: "/ready",
          secure: false,
          headers: [["a", "b"]],
        },
        successThreshold: 1,
        timeoutMs: 1000,
        aggressive: true,
      },
    ],
  );
  t.deepEqual(
    readProbes('[{"grpc":{"port":0,"service":"s"},"periodSeconds":3,"timeoutSeconds":2}]', 8080),
    [
      {
        action: { kind: "grpc", port: 8080, service: "s" },
        successThreshold: 1,
        timeoutMs: 2000,
        aggressive: false,
      },
    ],
  );
  for (const text of ["{", "{}", "[1]", '{"exec":{"command":["a"]}}']) {
    t.throws(() => readProbes(text, 1), { instanceOf: TensorwireError });
  }
});
