import test from "ava";
import fc from "fast-check";
import { LowestFree } from "../../../server/predictor/sequences/lowest-free.ts";

test("it is always the lowest free number, as a plain set says", (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.oneof(fc.constant("take" as const), fc.nat({ max: 11 })), { maxLength: 100 }),
      (limit, actions) => {
        const numbers = new LowestFree(limit);
        const taken = new Set<number>();
        for (const action of actions) {
          if (action === "take") {
            const all = Array.from({ length: limit }, (_, number) => number);
            const expected = all.find((number) => !taken.has(number));
            t.is(numbers.take(), expected);
            if (expected !== undefined) taken.add(expected);
          } else if (taken.delete(action)) numbers.give(action);
        }
      },
    ),
  );
});
