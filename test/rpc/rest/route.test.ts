import test from "ava";
import { matchRoute } from "../../../server/rpc/rest/route.ts";

for (const [path, route, names] of [
  ["/v2", "/v2", {}],
  ["/v2/", "/v2", {}],
  ["/v2/models/iris", "/v2/models/M", { model: "iris" }],
  [
    "/v2/models/iris/versions/3/infer",
    "/v2/models/M/versions/V/infer",
    { model: "iris", version: "3" },
  ],
  ["/v2/models/a%20b%2Fc/infer", "/v2/models/M/infer", { model: "a b/c" }],
  ["/v2/models/stats", "/v2/models/stats", {}],
  ["/v2/models/stats/infer", "/v2/models/M/infer", { model: "stats" }],
  [
    "/v2/models/models/versions/1/stats",
    "/v2/models/M/versions/V/stats",
    { model: "models", version: "1" },
  ],
  ["/v2/models/M/infer", "/v2/models/M/infer", { model: "M" }],
  ["/v2/repository/models/x/load", "/v2/repository/models/M/load", { model: "x" }],
  [
    "/v2/systemsharedmemory/region/r/register",
    "/v2/systemsharedmemory/region/R/register",
    { region: "r" },
  ],
  ["/v1/models", "/v1/models", {}],
  ["/v1/models/iris", "/v1/models/M", { model: "iris" }],
  ["/v1/models/iris:predict", "/v1/models/M:predict", { model: "iris" }],
  ["/v1/models/a:b:predict", "/v1/models/M:predict", { model: "a:b" }],
  ["/health/ready", "/health/ready", {}],
  ["/metrics", "/metrics", {}],
] as const) {
  test(`${path} is ${route}`, (t) => {
    t.deepEqual(matchRoute(path), { route, model: "", version: "", region: "", ...names });
  });
}

for (const path of [
  "/",
  "/index.html",
  "/v3/models",
  "/v2/models/%zz",
  "/v1/models/a/b",
  "/v1/models/%",
]) {
  test(`${path} is no REST route`, (t) => {
    t.is(matchRoute(path), undefined);
  });
}
