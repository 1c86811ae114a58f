/** A matched route: which one, and the names in its path, percent-decoded. */
export interface RouteMatch {
  readonly route: string;
  readonly model: string;
  readonly version: string;
  readonly region: string;
}

/**
 * Matches a path against the REST routes. The result's `route` has `M`, `V` and `R` in place of the
 * names: `/v2/models/M/versions/V/infer`.
 *
 * @returns `undefined` for a path outside of `/v1`, `/v2`, `/health` and `/metrics`, or one whose
 * percent-encoding is broken
 */
export function matchRoute(path: string): RouteMatch | undefined {
  const [first, ...rest] = path
    .slice(1)
    .split("/")
    .filter((part, index, all) => part !== "" || index < all.length - 1);
  const names = { model: "", version: "", region: "" };
  switch (first) {
    case "metrics":
    case "health":
      return { route: [`/${first}`, ...rest].join("/"), ...names };
    case "v1":
      return matchV1(rest, names);
    case "v2":
      return matchV2(rest, names);
    default:
      return undefined;
  }
}

type Names = { model: string; version: string; region: string };

function matchV1(parts: readonly string[], names: Names): RouteMatch | undefined {
  const [, last] = parts;
  if (parts[0] !== "models" || last === undefined)
    return { route: ["/v1", ...parts].join("/"), ...names };
  // A verb stands behind the last colon, for a model's name may hold one too.
  const colon = last.lastIndexOf(":");
  const verb = colon === -1 ? "" : last.slice(colon);
  const model = decode(colon === -1 ? last : last.slice(0, colon));
  return model === undefined || parts.length > 2
    ? undefined
    : { route: `/v1/models/M${verb}`, ...names, model };
}

function matchV2(parts: readonly string[], names: Names): RouteMatch | undefined {
  const route = ["/v2"];
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index]!;
    const before = parts[index - 1];
    // /v2/models/stats and /v2/models/trace are of the server, not models of these names.
    const wholeServer = index === 1 && parts.length === 2 && part === "stats";
    if (before === "models" && (index === 1 || parts[0] === "repository") && !wholeServer) {
      const model = decode(part);
      if (model === undefined) return undefined;
      names.model = model;
      route.push("M");
    } else if (before === "versions" && index === 3) {
      const version = decode(part);
      if (version === undefined) return undefined;
      names.version = version;
      route.push("V");
    } else if (before === "region") {
      const region = decode(part);
      if (region === undefined) return undefined;
      names.region = region;
      route.push("R");
    } else route.push(part);
  }
  return { route: route.join("/"), ...names };
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    // A broken percent-encoding names nothing.
    return undefined;
  }
}
