import test from "ava";
import {
  createClient,
  generateText,
  InferenceError,
  type NodeClientOptions,
} from "../../../clients/typescript/src/node.ts";
import { startServer } from "../../support/command.ts";
import { type ExpectedText, expectedTexts, textModelFolder } from "../../support/text-model.ts";
import { until } from "../../support/until.ts";

const protocols: readonly NonNullable<NodeClientOptions["protocol"]>[] = ["grpc", "connect"];

for (const protocol of protocols) {
  test(`over ${protocol} a text comes in pieces, and what is wrong with its reason`, async (t) => {
    const server = await startServer(t, [textModelFolder]);
    const client = createClient(server.url, { protocol });
    t.teardown(() => client.close());
    const [{ prompt, text }] = (await expectedTexts()) as [ExpectedText];
    const stop = text.slice(20, 24);
    const parameters = { temperature: 0, max_tokens: 60 };
    let given = "";
    let reason = "";
    for await (const piece of generateText(client, "opticks", prompt, {
      parameters,
      modelVersion: "1",
    })) {
      given += piece.text;
      t.is(reason, "");
      reason = piece.finishReason;
    }
    t.is(given, text);
    t.is(reason, "length");
    let cut = "";
    for await (const piece of generateText(client, "opticks", prompt, {
      parameters: { ...parameters, stop: ["~", stop] },
    })) {
      cut += piece.text;
    }
    t.is(cut, text.slice(0, text.indexOf(stop)));

    const refused = async (model: string, value: number): Promise<string | undefined> => {
      const texts = generateText(client, model, "a", { parameters: { temperature: value } });
      const error = await t.throwsAsync(texts.next(), { instanceOf: InferenceError });
      return error?.reason;
    };
    t.is(await refused("opticks", 3), "PARAMETER_INVALID");
    t.is(await refused("nope", 1), "MODEL_NOT_FOUND");
  });
}

test("leaving the loop ends the generation", async (t) => {
  const server = await startServer(t, [textModelFolder]);
  const client = createClient(server.url);
  t.teardown(() => client.close());
  const running = async (): Promise<string | undefined> => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    return /^vllm:request_success_total\{.*finished_reason="abort"\} (\d+)$/m.exec(metrics)?.[1];
  };
  t.is(await running(), "0");
  for await (const _ of generateText(client, "opticks", "a", { parameters: { ignore_eos: true } }))
    break;
  await until(async () => (await running()) === "1");
});
