import test from "ava";
import { createClient, InferenceError, tensor } from "../../clients/typescript/src/node.ts";
import { createRandom } from "../../server/random/random.ts";
import { type RunningServer, startServer } from "../support/command.ts";
import { readEvents } from "../support/event-stream.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectedTexts, textModelFolder } from "../support/text-model.ts";
import { until } from "../support/until.ts";

/** Values of a metric by their labels, those of model and version left out: `finished_reason="stop"`. */
type Metric = Readonly<Record<string, number>>;

async function metric({ url }: RunningServer, name: string): Promise<Metric> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`));
  return Object.fromEntries(
    lines.map((line) => {
      const [, labels, value] = /^[^{]*\{(.*)\} (\S+)$/.exec(line) as unknown as [
        string,
        string,
        string,
      ];
      const others = labels
        .split(",")
        .filter((label) => !/^(model|model_name|version)=/.test(label));
      return [others.join(","), Number(value)];
    }),
  );
}

async function value(server: RunningServer, name: string): Promise<number | undefined> {
  return (await metric(server, name))[""];
}

const reasons = (given: Metric): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(given).map(([label, count]) => [
      /finished_reason="(\w+)"/.exec(label)![1]!,
      count,
    ]),
  );

async function complete(
  { url }: RunningServer,
  body: object,
  signal?: AbortSignal,
): Promise<Response> {
  return fetch(`${url}/openai/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "opticks", ...body }),
    ...(signal && { signal }),
  });
}

async function textOf(response: Response): Promise<string> {
  const { choices } = (await response.json()) as { choices: [{ text: string }] };
  return choices[0].text;
}

/** All slots are free, and nothing is in the cache. */
async function isIdle(server: RunningServer): Promise<boolean> {
  const gauges = await Promise.all(
    ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"].map((name) =>
      value(server, `vllm:${name}`),
    ),
  );
  return gauges.every((gauge) => gauge === 0);
}

for (const workers of [1, 2]) {
  test.serial(`metrics count the generations of ${workers} worker(s)`, async (t) => {
    const server = await startServer(t, [textModelFolder, "--workers", `${workers}`]);
    // A model that was never asked has metrics, too.
    t.is(await value(server, "vllm:generation_tokens_total"), 0);
    t.is(await value(server, "tensorwire_generation_slots"), 8 * workers);
    t.is(await value(server, "tensorwire_generation_waiting_limit"), 64 * workers);
    const asked = { prompt: "The Rays", max_tokens: 5, temperature: 0, ignore_eos: true };
    const texts = await Promise.all(
      // A connection each, so that both workers get some.
      Array.from({ length: 12 }, () =>
        fetch(`${server.url}/openai/v1/completions`, {
          method: "POST",
          body: JSON.stringify({ model: "opticks", ...asked }),
          headers: { connection: "close" },
        }).then(textOf),
      ),
    );
    t.is(new Set(texts).size, 1);
    const stopped = await complete(server, { ...asked, stop: texts[0]!.charAt(1) });
    t.is(await textOf(stopped), texts[0]!.charAt(0));
    await until(async () => (await value(server, "vllm:generation_tokens_total")) === 12 * 5 + 2);
    t.is(await value(server, "vllm:prompt_tokens_total"), 13 * 9);
    t.deepEqual(reasons(await metric(server, "vllm:request_success_total")), {
      stop: 1,
      length: 12,
      abort: 0,
      error: 0,
    });
    t.true(await isIdle(server));
    t.is(await value(server, "vllm:time_to_first_token_seconds_count"), 13);
    t.is(await value(server, "vllm:inter_token_latency_seconds_count"), 12 * 4 + 1);
    t.is(await value(server, "vllm:e2e_request_latency_seconds_count"), 13);
    const buckets = Object.values(await metric(server, "vllm:e2e_request_latency_seconds_bucket"));
    t.deepEqual(
      buckets,
      buckets.toSorted((a, b) => a - b),
    );
    t.is(buckets.at(-1), 13);
    t.true((await value(server, "vllm:e2e_request_latency_seconds_sum"))! > 0);
  });
}

test.serial(
  "a thousand generations of which many are left at any time: all slots are free, and none is lost",
  async (t) => {
    t.timeout(300_000);
    const server = await startServer(t, [textModelFolder]);
    const random = createRandom(3n);
    const expected = await expectedTexts();
    let begun = 0;
    let whole = 0;
    let left = 0;
    const one = async (): Promise<void> => {
      const { prompt, text } = expected[Math.floor(random.next() * expected.length)]!;
      const count = 1 + Math.floor(random.next() * 12);
      const abort = new AbortController();
      // Before it is sent, before its first token, after some, or never.
      const leaveAfter =
        random.next() < 0.5 ? Math.floor(random.next() * count) : Number.POSITIVE_INFINITY;
      const atOnce = random.next() < 0.2;
      const asked = { prompt, max_tokens: count, temperature: 0, stream: true };
      let given = "";
      try {
        const sent = complete(server, asked, abort.signal);
        if (atOnce) setImmediate(() => abort.abort());
        const response = await sent;
        t.is(response.status, 200);
        for await (const data of readEvents(response)) {
          if (data === "[DONE]") break;
          given += (JSON.parse(data) as { choices: [{ text: string }] }).choices[0].text;
          if (given.length > leaveAfter) abort.abort();
        }
        t.is(given, text.slice(0, count));
        whole++;
      } catch (error) {
        if ((error as Error).name !== "AbortError") throw error;
        t.true(text.startsWith(given));
        left++;
      }
    };
    const worker = async (): Promise<void> => {
      while (begun++ < 1000) await one();
    };
    await Promise.all(Array.from({ length: 48 }, worker));
    t.is(whole + left, 1000);
    t.true(left > 100 && whole > 100, `${left} left, ${whole} whole`);
    await until(() => isIdle(server));
    const { stop, length, abort, error } = reasons(
      await metric(server, "vllm:request_success_total"),
    );
    t.is(stop, 0);
    t.is(error, 0);
    // One that was left before the model heard of it counts nowhere; one that ended meanwhile counts as whole.
    t.true(length! >= whole && length! + abort! <= 1000, `${length} ${abort}`);
    for (const name of [
      "nv_inference_pending_request_count",
      "tensorwire_model_running_requests",
    ]) {
      await until(async () => (await value(server, name)) === 0);
    }
    // What runs after it is what would have run before.
    const [{ prompt, text }] = expected as [(typeof expected)[number]];
    const asked = { prompt, max_tokens: 60, temperature: 0 };
    const after = await Promise.all(
      Array.from({ length: 8 }, async () => textOf(await complete(server, asked))),
    );
    t.deepEqual(new Set(after), new Set([text]));
  },
);

test.serial("over gRPC: a deadline and a cancel end a generation and free its slot", async (t) => {
  const server = await startServer(t, [textModelFolder]);
  const client = createClient(server.url);
  t.teardown(() => client.close());
  const request = {
    model: "opticks",
    inputs: { text_input: tensor([1], ["The Rays"]) },
    parameters: { ignore_eos: true },
  };
  // All that fits in the context takes longer than this.
  const late = await t.throwsAsync(
    async () => {
      for await (const { error } of client.inferStream([request], { timeoutMs: 40 }))
        if (error) throw error;
    },
    { instanceOf: InferenceError },
  );
  t.is(late?.reason, "DEADLINE_EXCEEDED");
  await until(() => isIdle(server));

  const abort = new AbortController();
  await t.throwsAsync(async () => {
    for await (const _ of client.inferStream([request], { signal: abort.signal })) abort.abort();
  });
  await until(() => isIdle(server));
  await until(async () => reasons(await metric(server, "vllm:request_success_total")).abort! >= 1);
});

/** Steps that take until they are let go on, so that a test decides what waits. */
const gated = `import { characterVocabulary, createStepModelGenerator, defineTextModel } from "tensorwire/text-model";

export default defineTextModel({
  concurrency: 8,
  open: ({ name, observeGenerations }) =>
    createStepModelGenerator({
      name,
      vocabulary: characterVocabulary("abc"),
      maxWaiting: 1,
      observe: observeGenerations,
      model: {
        slots: 1,
        contextLength: 1_000_000,
        vocabularySize: 4,
        async step(rows) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          return rows.map(() => Float32Array.of(-9, 0, 1, 2));
        },
        release() {},
      },
    }),
});
`;

test.serial("who waits has a bound: QUEUE_FULL with a time to try again", async (t) => {
  const folder = await temporaryFolder(t, { "gated/1/model.ts": gated });
  const server = await startServer(t, [folder]);
  const asked = { model: "gated", prompt: "a", max_tokens: 100_000, temperature: 0 };
  const leave = new AbortController();
  const running = t.throwsAsync(complete(server, asked, leave.signal));
  await until(async () => (await value(server, "vllm:num_requests_running")) === 1);
  const waiting = t.throwsAsync(complete(server, asked, leave.signal));
  await until(async () => (await value(server, "vllm:num_requests_waiting")) === 1);
  const refused = await complete(server, asked);
  t.is(refused.status, 503);
  t.is(refused.headers.get("retry-after"), "1");
  t.is(((await refused.json()) as { error: { code: string } }).error.code, "queue_full");
  leave.abort();
  await Promise.all([running, waiting]);
  await until(() => isIdle(server));
});

test.serial("a model's own time ends its generations, those that wait too", async (t) => {
  const model = gated
    .replace("maxWaiting: 1", "maxWaiting: 3")
    .replace("concurrency", "timeoutMs: 300, concurrency");
  const folder = await temporaryFolder(t, { "gated/1/model.ts": model });
  const server = await startServer(t, [folder]);
  const asked = { model: "gated", prompt: "a", max_tokens: 100_000, temperature: 0 };
  for (const late of await Promise.all(Array.from({ length: 4 }, () => complete(server, asked)))) {
    t.is(late.status, 504);
    t.is(((await late.json()) as { error: { code: string } }).error.code, "deadline_exceeded");
  }
  await until(() => isIdle(server));
  await until(async () => reasons(await metric(server, "vllm:request_success_total")).error === 4);
});

const crashing = gated.replace(
  "await new Promise",
  "if (rows.some(({ tokens }) => tokens.includes(3))) process.exit(7);\n          await new Promise",
);

test.serial(
  "a thread that ends under its generations: each stream ends with worker_lost, and the model comes back",
  async (t) => {
    const folder = await temporaryFolder(t, { "gated/1/model.ts": crashing });
    const server = await startServer(t, [folder]);
    const asked = {
      model: "gated",
      prompt: "a",
      max_tokens: 100_000,
      temperature: 0,
      stream: true,
    };
    // The model's likeliest token is c, number 3, which no step may see: one token each, then the end.
    const response = await complete(server, asked);
    t.is(response.status, 200);
    const events: { choices?: { text: string }[]; error?: { code: string } }[] = [];
    for await (const data of readEvents(response)) events.push(JSON.parse(data));
    t.is(events.at(-1)?.error?.code, "worker_lost");
    t.true(events.slice(0, -1).every(({ choices }) => choices?.[0]?.text === "c"));
    await until(() => isIdle(server));
    const again = async (): Promise<number> =>
      (await complete(server, { ...asked, max_tokens: 1 })).status;
    await until(async () => (await again()) === 200);
  },
);

test.serial(
  "a model that is loaded again lets its generations end on the old version",
  async (t) => {
    const server = await startServer(t, [textModelFolder]);
    const [{ prompt, text }] = (await expectedTexts()) as [
      Awaited<ReturnType<typeof expectedTexts>>[number],
    ];
    const asked = { prompt, max_tokens: 60, temperature: 0 };
    let loading = true;
    const texts: Promise<string>[] = [];
    const load = async (): Promise<void> => {
      for (let turn = 0; turn < 3; turn++) {
        const url = `${server.url}/v2/repository/models/opticks/load`;
        t.is((await fetch(url, { method: "POST" })).status, 200);
      }
      loading = false;
    };
    const loaded = load();
    while (loading) {
      const answer = complete(server, asked).then(textOf);
      texts.push(answer);
      await answer;
    }
    await loaded;
    t.deepEqual(new Set(await Promise.all(texts)), new Set([text]));
  },
);

test.serial("a server that is told to stop lets texts under way end", async (t) => {
  const server = await startServer(t, [textModelFolder]);
  const [{ prompt, text }] = (await expectedTexts()) as [
    Awaited<ReturnType<typeof expectedTexts>>[number],
  ];
  // As long as the context allows: it is under way when the signal comes.
  const asked = { prompt, max_tokens: 400, temperature: 0, ignore_eos: true, stream: true };
  const response = await complete(server, asked);
  let given = "";
  let tokens = 0;
  let done = false;
  for await (const data of readEvents(response)) {
    if (data === "[DONE]") {
      done = true;
      break;
    }
    const [choice] = (JSON.parse(data) as { choices: [{ text: string }] }).choices;
    given += choice.text;
    if (++tokens === 1) {
      server.process.kill("SIGTERM");
      await until(() => /stopping/.test(server.stderr()));
    }
  }
  t.true(done);
  t.true(given.startsWith(text));
  t.is(await server.ended, 0);
});
