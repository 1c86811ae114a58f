import test from "ava";
import fc from "fast-check";
import { BoundedCache } from "../../server/access/bounded-cache.ts";

test("it never holds more than its limit, and gives only what was set last", (t) => {
  const step = fc.record({
    kind: fc.constantFrom("set", "get", "delete"),
    key: fc.integer({ min: 0, max: 20 }).map(String),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const cache = new BoundedCache<number>(8);
      const model = new Map<string, number>();
      for (const [at, { kind, key }] of steps.entries()) {
        if (kind === "set") {
          cache.set(key, at);
          model.set(key, at);
          t.is(cache.get(key), at);
        } else if (kind === "delete") {
          cache.delete(key);
          model.delete(key);
          t.is(cache.get(key), undefined);
        } else {
          const found = cache.get(key);
          t.true(found === undefined || found === model.get(key));
        }
        t.true(cache.size <= 8);
      }
    }),
  );
});

test("what is asked for again and again stays, whatever else comes", (t) => {
  const cache = new BoundedCache<string>(8);
  cache.set("often", "here");
  for (let index = 0; index < 1000; index++) {
    cache.set(`once ${index}`, "x");
    t.is(cache.get("often"), "here");
  }
});
