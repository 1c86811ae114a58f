import test from "ava";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { breakerPolicy } from "../../../server/queue-proxy/queue/queue-policy.ts";
import { applyRules } from "../../../server/queue-proxy/rules/apply-rules.ts";
import { readRules } from "../../../server/queue-proxy/rules/read-rules.ts";
import { unverifiedClaim } from "../../../server/queue-proxy/rules/unverified-claim.ts";
import { HeaderField } from "../../../server/wire/http2/hpack/header-field.ts";
import { RequestHead } from "../../../server/wire/http2/message-head.ts";

const infinity = Number.POSITIVE_INFINITY;

function head(path: string, fields: Readonly<Record<string, string>> = {}): RequestHead {
  const list = Object.entries(fields).map(([name, value]) => new HeaderField(name, value));
  return new RequestHead("POST", "http", "host", path, list, -1);
}

/** A token that nobody has signed. */
function token(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `Bearer ${part({ alg: "none" })}.${part(claims)}.`;
}

const file = `
limits:
  concurrency: 8
  waiting-bytes: 64MiB
  aging: 5s
  order: lifo-under-overload
classes:
  - name: interactive
    level: 0
    weight: 4
    max-wait: 2s
    rate: 100
    burst: 200
  - name: batch
    level: 1
    concurrency: 2
callers:
  - { header: X-Tier, value: "gold*", class: interactive }
  - { unverified-claim: tier, value: free, class: batch }
  - { path: /inference.GRPCInferenceService/*, class: interactive }
tenant: { header: x-tenant }
cost: { header: x-tokens, max: 1000 }
default: batch
`;

test("limits, classes and what is not said", (t) => {
  const { policy, classes, defaultClass } = readRules(file, "rules.yaml", breakerPolicy(1));
  t.like(policy, {
    capacity: 8,
    maxWaiting: 80,
    maxWaitingBytes: 64 * 1024 * 1024,
    rate: infinity,
    agingMs: 5000,
    order: "lifo-under-overload",
    codelTargetMs: infinity,
  });
  t.is(defaultClass, "batch");
  t.like(classes[0]!, { name: "interactive", weight: 4, maxWaitMs: 2000, rate: 100, burst: 200 });
  t.like(classes[1]!, { level: 1, concurrency: 2, rate: infinity });
});

test("an empty file changes nothing", (t) => {
  const base = breakerPolicy(3);
  const { policy, classes } = readRules("", "rules.yaml", base);
  t.is(policy.capacity, 3);
  t.is(policy.maxWaiting, 30);
  t.deepEqual(
    classes.map(({ name }) => name),
    ["default"],
  );
});

test("the first caller that fits counts", (t) => {
  const place = applyRules(readRules(file, "rules.yaml", breakerPolicy(1)));
  t.deepEqual(place(head("/other", { "x-tier": "golden", "x-tenant": "a", "x-tokens": "250" })), {
    className: "interactive",
    tenant: "a",
    cost: 250,
  });
  t.like(place(head("/inference.GRPCInferenceService/ModelInfer?x")), { className: "interactive" });
  t.like(
    place(
      head("/inference.GRPCInferenceService/ModelInfer", {
        authorization: token({ tier: "free" }),
      }),
    ),
    { className: "batch" },
  );
  t.deepEqual(place(head("/v1", { "x-tokens": "1e9" })), {
    className: "batch",
    tenant: "",
    cost: 1,
  });
  t.like(place(head("/v1", { "x-tokens": "999999" })), { cost: 1000 });
});

test("claims are read of what looks like a token, and of nothing else", (t) => {
  t.is(unverifiedClaim(token({ sub: "u", n: 3 }), "sub"), "u");
  t.is(unverifiedClaim(token({ n: 3 }), "n"), "3");
  for (const text of [undefined, "Basic abc", "Bearer x", "Bearer a.!!.c", "Bearer a.e30.c"]) {
    t.is(unverifiedClaim(text, "sub"), undefined);
  }
  t.is(unverifiedClaim(token({ sub: { a: 1 } }), "sub"), undefined);
});

test("every problem of a file is named", (t) => {
  const bad = `
limits: { concurrency: -1, order: random, waiting-bytes: many, colour: red }
classes:
  - { level: 0 }
  - { name: a, weight: 0, max-wait: soon }
  - { name: a }
callers:
  - { header: x, class: nobody }
  - { class: a }
tenant: {}
default: nobody
more: 1
`;
  const error = t.throws(() => readRules(bad, "rules.yaml", breakerPolicy(1)), {
    instanceOf: TensorwireError,
  });
  const { message } = error!;
  for (const part of [
    "limits.concurrency is -1, expected a whole number of at least 0",
    'limits.order is "random", expected fifo or lifo-under-overload',
    'limits.waiting-bytes is "many"',
    "limits.colour is not known",
    "classes[0].name is missing",
    "classes[1].weight is 0, expected more",
    'classes[1].max-wait is "soon", expected a time',
    'classes: "a" is there twice',
    'callers[0].class is "nobody"',
    "callers[1].header is missing",
    "tenant.header is missing",
    'default is "nobody", which is no class',
    "more is not known",
  ]) {
    t.true(message.includes(part), `${part}\nin\n${message}`);
  }
  t.throws(() => readRules("a: [", "rules.yaml", breakerPolicy(1)), {
    instanceOf: TensorwireError,
  });
});
