import test from "ava";
import fc from "fast-check";
import { EventHeap } from "../../../server/autoscaling/simulation/event-heap.ts";

test("events come in the order of time, those of one time as they were pushed, between pushes too", (t) => {
  const step = fc.oneof(fc.constant("pop" as const), fc.integer({ min: 0, max: 20 }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const heap = new EventHeap<{ at: number; order: number }>();
      let list: { at: number; order: number }[] = [];
      steps.forEach((at, order) => {
        if (at === "pop") {
          // toSorted is stable.
          const [first, ...rest] = list.toSorted((a, b) => a.at - b.at);
          t.deepEqual(heap.pop(), first);
          list = rest.toSorted((a, b) => a.order - b.order);
        } else {
          const event = { at, order };
          heap.push(event);
          list.push(event);
        }
      });
      for (const event of list.toSorted((a, b) => a.at - b.at)) t.deepEqual(heap.pop(), event);
      t.is(heap.pop(), undefined);
    }),
  );
});
