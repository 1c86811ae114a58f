/** A matched route: which one, and the names in its path, percent-decoded. */
export interface RouteMatch {
  readonly route: string;
  readonly model: string;
  readonly version: string;
  readonly region: string;
}

/**
 * Matches a path against the REST routes. The result's `route` has `M`, `V` and `R` in place of the
 * names: `/v2/models/M/versions/V/infer`. Whether such a route exists is for the table of routes to
 * say.
 *
 * @returns `undefined` for a path outside of `/v1`, `/v2`, `/openai`, `/health` and `/metrics`, or one whose
 * percent-encoding is broken
 */
export function matchRoute(path: string): RouteMatch | undefined {
  // The path begins with a slash, so the first part is empty; one slash at the end does not count.
  const parts = path.split("/");
  if (parts.length > 2 && parts.at(-1) === "") parts.pop();
  switch (parts[1]) {
    case "metrics":
    case "health":
      return { route: parts.join("/"), model: "", version: "", region: "" };
    case "v1":
      return matchV1(parts);
    case "v2":
      return matchV2(parts);
    case "openai":
      return matchOpenai(parts);
    default:
      return undefined;
  }
}

function matchV1(parts: readonly string[]): RouteMatch | undefined {
  const last = parts[3];
  if (parts[2] !== "models" || last === undefined)
    return { route: parts.join("/"), model: "", version: "", region: "" };
  // A verb stands behind the last colon, for a model's name may hold one too.
  const colon = last.lastIndexOf(":");
  const verb = colon === -1 ? "" : last.slice(colon);
  const model = decode(colon === -1 ? last : last.slice(0, colon));
  return model === undefined || parts.length > 4
    ? undefined
    : { route: `/v1/models/M${verb}`, model, version: "", region: "" };
}

function matchOpenai(parts: readonly string[]): RouteMatch | undefined {
  const names = { model: "", version: "", region: "" };
  if (parts[3] !== "models" || parts.length !== 5) return { route: parts.join("/"), ...names };
  const model = decode(parts[4]!);
  return model === undefined
    ? undefined
    : { ...names, route: `/openai/${parts[2]}/models/M`, model };
}

function matchV2(parts: readonly string[]): RouteMatch | undefined {
  const names = { M: "", V: "", R: "" };
  let route = "/v2";
  for (let index = 2; index < parts.length; index++) {
    const part = parts[index]!;
    const kind = nameKind(parts, index);
    if (kind !== undefined) {
      const name = decode(part);
      if (name === undefined) return undefined;
      names[kind] = name;
    }
    route += `/${kind ?? part}`;
  }
  return { route, model: names.M, version: names.V, region: names.R };
}

/** What the part of a v2 path names; `undefined` if it is a word of the route. */
function nameKind(parts: readonly string[], index: number): "M" | "V" | "R" | undefined {
  switch (parts[2]) {
    case "models":
      // /v2/models/stats is of all models, not of one with this name.
      if (index === 3) return parts.length === 4 && parts[3] === "stats" ? undefined : "M";
      return index === 5 && parts[4] === "versions" ? "V" : undefined;
    case "repository":
      return index === 4 && parts[3] === "models" ? "M" : undefined;
    case "systemsharedmemory":
    case "cudasharedmemory":
      return index === 4 && parts[3] === "region" ? "R" : undefined;
    default:
      return undefined;
  }
}

function decode(part: string): string | undefined {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    // A broken percent-encoding names nothing.
    return undefined;
  }
}
