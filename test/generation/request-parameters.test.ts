import test from "ava";
import { parametersOfRequest } from "../../server/generation/request-parameters.ts";

test("numbers may come as text and integers as bigint, as clients of Triton send them", (t) => {
  t.deepEqual(
    parametersOfRequest({
      temperature: "0.5",
      top_p: "1e-1",
      max_tokens: 5n,
      top_k: "-1",
      seed: "9223372036854775807",
    }),
    { temperature: 0.5, top_p: 0.1, max_tokens: 5, top_k: -1, seed: 9223372036854775807n },
  );
  // What is none stays what it is, for the check to name it.
  t.deepEqual(parametersOfRequest({ temperature: "hot", seed: "x", other: "5" }), {
    temperature: "hot",
    seed: "x",
    other: "5",
  });
  t.deepEqual(parametersOfRequest({ ignore_eos: "true" }), { ignore_eos: true });
});

test("a JSON list in stop is several strings; any other text is one, even if it begins like a list", (t) => {
  const stop = (text: string): unknown => parametersOfRequest({ stop: text }).stop;
  t.deepEqual(stop('["a", "b"]'), ["a", "b"]);
  t.is(stop("a"), "a");
  t.is(stop("[1, 2]"), "[1, 2]");
  t.is(stop("[unfinished"), "[unfinished");
});

test("sampling_parameters is a JSON object whose members count over request parameters", (t) => {
  const given = parametersOfRequest(
    { temperature: 1, max_tokens: 3n },
    '{"temperature": "0", "stop": ["x"], "seed": 9223372036854775806}',
  );
  t.deepEqual(given, { temperature: 0, max_tokens: 3, stop: ["x"], seed: 9223372036854775806n });
  t.throws(() => parametersOfRequest({}, "[]"), { message: /expected a JSON object/ });
  t.throws(() => parametersOfRequest({}, "{"), { message: /sampling_parameters/ });
});
