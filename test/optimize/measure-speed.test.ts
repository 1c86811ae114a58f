import test from "ava";
import { measureAlternately } from "../../server/optimize/measure-speed.ts";

test("functions are called by turns, however little time there is", async (t) => {
  const calls: string[] = [];
  const run = (name: string) => async (): Promise<void> => {
    calls.push(name);
  };
  const times = await measureAlternately([run("a"), run("b")], 0);
  t.is(times.length, 2);
  t.true(times.every((time) => time >= 0));
  // Two calls to warm each up, then a call each in at least three turns.
  t.is(calls.slice(0, 4).join(""), "aabb");
  t.regex(calls.slice(4).join(""), /^(ab){3,}$/);
});

test("what fails is not measured", async (t) => {
  const failing = async (): Promise<void> => {
    throw new Error("no such input");
  };
  await t.throwsAsync(measureAlternately([failing], 10), { message: "no such input" });
});
