import { parse as parseYaml } from "yaml";
import { rulesInvalid } from "../../errors/proxy-errors.ts";
import { adaptiveDefaults } from "../queue/adaptive-limit.ts";
import { type ClassPolicy, plainClass, type QueuePolicy } from "../queue/queue-policy.ts";
import { RuleReader } from "./rule-reader.ts";

/** Where a text of a call is found. */
export type TextSource =
  | { readonly kind: "header"; readonly name: string }
  /** A claim of the bearer token, which nobody has checked here. */
  | { readonly kind: "unverified-claim"; readonly name: string }
  | { readonly kind: "path" };

/** Which calls belong to a class. */
export interface CallerRule {
  readonly source: TextSource;
  /** Text, or its beginning if it ends with `*`; any text without it. */
  readonly value: string | undefined;
  readonly className: string;
}

/** What a rule file says. */
export interface RuleSet {
  readonly policy: QueuePolicy;
  readonly classes: readonly ClassPolicy[];
  /** The first that fits counts. */
  readonly callers: readonly CallerRule[];
  /** Class of calls that none fits. */
  readonly defaultClass: string;
  /** What tells tenants of a class apart. */
  readonly tenant: TextSource | undefined;
  /** Header that says what a call costs, and the most that is believed. */
  readonly cost: { readonly header: string; readonly max: number } | undefined;
}

const infinity = Number.POSITIVE_INFINITY;

/**
 * Reads a rule file (docs/queue-proxy.md).
 *
 * @param base - limits where the file says nothing: Knative's
 * @throws TensorwireError `SETTING_INVALID` with every problem on a line of its own
 */
export function readRules(text: string, path: string, base: QueuePolicy): RuleSet {
  const problems: string[] = [];
  let content: unknown;
  try {
    content = parseYaml(text) ?? {};
  } catch (error) {
    throw rulesInvalid(path, [(error as Error).message.split("\n")[0]!]);
  }
  const file = new RuleReader(content, "", problems);
  const policy = readPolicy(new RuleReader(file.raw("limits"), "limits", problems), base, problems);
  const classes = file
    .list("classes")
    .map((one, index) => readClass(new RuleReader(one, `classes[${index}]`, problems)));
  const names = classes.map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) !== index) problems.push(`classes: "${name}" is there twice`);
  }
  const defaultClass = file.text("default") ?? "default";
  if (file.has("default") && !names.includes(defaultClass)) {
    problems.push(`default is "${defaultClass}", which is no class`);
  } else if (!names.includes(defaultClass)) {
    classes.push({ ...plainClass, name: defaultClass });
    names.push(defaultClass);
  }
  const callers = file
    .list("callers")
    .map((one, index) => readCaller(new RuleReader(one, `callers[${index}]`, problems), names));
  const tenant = readTenant(file, problems);
  const cost = readCost(file, problems);
  file.end();
  if (problems.length > 0) throw rulesInvalid(path, problems);
  return { policy, classes, callers, defaultClass, tenant, cost };
}

function readPolicy(limits: RuleReader, base: QueuePolicy, problems: string[]): QueuePolicy {
  const capacity = limits.number("concurrency", 0, "whole", 0);
  const given = limits.has("concurrency") ? capacity || infinity : base.capacity;
  const rate = limits.positive("rate", infinity);
  const policy: QueuePolicy = {
    capacity: given,
    adaptive: readAdaptive(limits, base, problems),
    maxWaiting: limits.number(
      "waiting",
      0,
      "whole",
      limits.has("concurrency") ? given * 10 : base.maxWaiting,
    ),
    maxWaitingBytes: limits.bytes("waiting-bytes", base.maxWaitingBytes),
    rate,
    burst: limits.positive("burst", rate),
    agingMs: limits.duration("aging", infinity),
    order: limits.choice("order", ["fifo", "lifo-under-overload"], "fifo"),
    lifoAfterMs: limits.duration("lifo-after", 1_000),
    codelTargetMs: limits.duration("codel-target", infinity),
    codelIntervalMs: limits.duration("codel-interval", 100),
    maxTenants: limits.number("max-tenants", 1, "whole", base.maxTenants),
  };
  limits.end();
  return policy;
}

/** Bounds of a limit that follows the server; it counts where `concurrency` is without a limit. */
function readAdaptive(
  limits: RuleReader,
  base: QueuePolicy,
  problems: string[],
): QueuePolicy["adaptive"] {
  if (!limits.has("adaptive")) return base.adaptive;
  const given = new RuleReader(limits.raw("adaptive"), "limits.adaptive", problems);
  const defaults = base.adaptive ?? adaptiveDefaults;
  const least = given.number("least", 1, "whole", defaults.least);
  const adaptive = {
    least,
    most: given.number("most", least, "whole", Math.max(least, defaults.most)),
    tolerance: given.positive("tolerance", defaults.tolerance),
  };
  given.end();
  return adaptive;
}

function readClass(one: RuleReader): ClassPolicy {
  const name = one.text("name");
  if (name === undefined && !one.has("name")) one.problem("name", "is missing");
  const rate = one.positive("rate", infinity);
  const tenantRate = one.positive("tenant-rate", infinity);
  const policy: ClassPolicy = {
    name: name ?? "",
    level: one.number("level", 0, "whole", 0),
    weight: one.positive("weight", 1),
    concurrency: one.number("concurrency", 1, "whole", infinity),
    maxWaiting: one.number("waiting", 0, "whole", infinity),
    maxWaitMs: one.duration("max-wait", infinity),
    rate,
    burst: one.positive("burst", rate),
    tenantRate,
    tenantBurst: one.positive("tenant-burst", tenantRate),
  };
  one.end();
  return policy;
}

function readCaller(one: RuleReader, classes: readonly string[]): CallerRule {
  const className = one.text("class") ?? "";
  if (!classes.includes(className)) {
    one.problem("class", `is "${className}", expected ${classes.join(" or ")}`);
  }
  const path = one.text("path");
  const source = path === undefined ? readSource(one) : ({ kind: "path" } as const);
  if (source === undefined) {
    one.problem("header", "is missing; name a header, a path or an unverified-claim");
  }
  const rule: CallerRule = {
    source: source ?? { kind: "path" },
    value: path ?? one.text("value"),
    className,
  };
  one.end();
  return rule;
}

function readSource(one: RuleReader): TextSource | undefined {
  const header = one.text("header");
  if (header !== undefined) return { kind: "header", name: header.toLowerCase() };
  const claim = one.text("unverified-claim");
  return claim === undefined ? undefined : { kind: "unverified-claim", name: claim };
}

function readTenant(file: RuleReader, problems: string[]): TextSource | undefined {
  if (!file.has("tenant")) return undefined;
  const tenant = new RuleReader(file.raw("tenant"), "tenant", problems);
  const source = readSource(tenant);
  if (!source) tenant.problem("header", "is missing; name a header or an unverified-claim");
  tenant.end();
  return source;
}

function readCost(file: RuleReader, problems: string[]): RuleSet["cost"] {
  if (!file.has("cost")) return undefined;
  const cost = new RuleReader(file.raw("cost"), "cost", problems);
  const header = cost.text("header");
  if (header === undefined) cost.problem("header", "is missing; name the header that says it");
  const max = cost.positive("max", 1_000_000);
  cost.end();
  return { header: (header ?? "").toLowerCase(), max };
}
