import type { RequestHead } from "../../wire/http2/message-head.ts";
import type { CallPlace, CallRules } from "../call-rules.ts";
import type { CallerRule, RuleSet, TextSource } from "./read-rules.ts";
import { unverifiedClaim } from "./unverified-claim.ts";

/** Longest name of a tenant that is kept, in characters. */
const maxTenantLength = 256;

/** Finds the place of calls by a rule set. */
export function applyRules(rules: RuleSet): CallRules {
  const { callers, defaultClass, tenant, cost } = rules;
  return (head) => {
    const rule = callers.find((one) => fits(one, head));
    const place: CallPlace = {
      className: rule?.className ?? defaultClass,
      tenant: tenant ? (textOf(tenant, head) ?? "").slice(0, maxTenantLength) : "",
      cost: cost ? costOf(head.get(cost.header), cost.max) : 1,
    };
    return place;
  };
}

function fits({ source, value }: CallerRule, head: RequestHead): boolean {
  const text = textOf(source, head);
  if (text === undefined) return false;
  if (value === undefined) return true;
  return value.endsWith("*") ? text.startsWith(value.slice(0, -1)) : text === value;
}

function textOf(source: TextSource, head: RequestHead): string | undefined {
  switch (source.kind) {
    case "header":
      return head.get(source.name);
    case "unverified-claim":
      return unverifiedClaim(head.get("authorization"), source.name);
    case "path":
      return head.path.split("?", 1)[0];
  }
}

/** What a call says that it costs, as far as it is a number; 1 is an ordinary call. */
function costOf(text: string | undefined, max: number): number {
  if (text === undefined || !/^\d{1,9}(\.\d{1,6})?$/.test(text)) return 1;
  return Math.min(max, Math.max(Number(text), 0.001));
}
