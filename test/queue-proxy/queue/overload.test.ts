import test from "ava";
import { AdmissionQueue } from "../../../server/queue-proxy/queue/admission-queue.ts";
import { breakerPolicy, plainClass } from "../../../server/queue-proxy/queue/queue-policy.ts";
import { SimulatedCall } from "./simulated-call.ts";

const capacity = 10;
const serviceMs = 10;
/** Calls a second that the server can do. */
const possible = (capacity * 1000) / serviceMs;
const seconds = 20;
const deadlineMs = 200;

/** Offers a load of two classes, by a clock that goes from event to event, and looks at what came of it. */
function overload(timesCapacity: number, urgentShare: number) {
  const clock = { now: 0 };
  const queue = new AdmissionQueue(
    { ...breakerPolicy(capacity), maxWaiting: capacity * 10 },
    [
      { ...plainClass, name: "urgent", level: 0 },
      { ...plainClass, name: "batch", level: 1 },
    ],
    { onAdmit() {}, onShed() {} },
    () => clock.now,
  );
  const done = { urgent: 0, batch: 0 };
  const urgentMs: number[] = [];
  let late = 0;
  // All calls take the server the same time, so they end in the order in which they were admitted.
  const ends: { readonly at: number; readonly call: SimulatedCall }[] = [];
  const begins = new Map<SimulatedCall, number>();
  const offer = (className: "urgent" | "batch"): void => {
    const flow = queue.flowOf(queue.classes.get(className)!, "", clock.now);
    const admit = (call: SimulatedCall): void => {
      ends.push({ at: clock.now + serviceMs, call });
    };
    const call = new SimulatedCall(className, flow, admit, 1, clock.now + deadlineMs);
    begins.set(call, clock.now);
    queue.offer(call, clock.now);
  };
  const gapMs = 1000 / (possible * timesCapacity);
  // A fixed order stands for chance: every nth call is urgent.
  const nth = Math.round(1 / urgentShare);
  const offered = (seconds * 1000) / gapMs;
  let next = 0;
  let ended = 0;
  while (next < offered || ended < ends.length) {
    const arrival = next < offered ? next * gapMs : Number.POSITIVE_INFINITY;
    const end = ends[ended];
    if (end && end.at <= arrival) {
      ended++;
      clock.now = end.at;
      const tookMs = clock.now - begins.get(end.call)!;
      const className = end.call.name as "urgent" | "batch";
      if (tookMs <= deadlineMs) done[className]++;
      else late++;
      if (className === "urgent") urgentMs.push(tookMs);
      end.call.end(queue, serviceMs);
    } else {
      clock.now = arrival;
      offer(next % nth === 0 ? "urgent" : "batch");
      next++;
    }
  }
  urgentMs.sort((a, b) => a - b);
  return {
    goodput: (done.urgent + done.batch) / seconds / possible,
    urgentDone: done.urgent,
    urgentOffered: Math.ceil(offered / nth),
    urgentP99: urgentMs[Math.floor(urgentMs.length * 0.99)]!,
    late,
    queue,
  };
}

test("ten times what can be done: all places are at work on calls that are in time", (t) => {
  // 5 % of ten times the capacity is half of it.
  const result = overload(10, 0.05);
  t.true(result.goodput > 0.9, `goodput ${result.goodput}`);
  t.is(result.queue.running, 0);
  t.is(result.queue.waiting, 0);
});

test("under overload the top class is served whole, within twice its time without load", (t) => {
  const result = overload(10, 0.05);
  t.is(result.urgentDone, result.urgentOffered);
  // Without load a call takes the time of the service; with it, at most that of one more before it.
  t.true(result.urgentP99 <= 2 * serviceMs, `p99 ${result.urgentP99} ms`);
  t.is(result.late, 0);
});
