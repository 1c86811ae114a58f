import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { type ExpectedText, expectedTexts, textModelFolder } from "../support/text-model.ts";
import { findPython, findTool, runTool } from "../support/tools.ts";

const script = (name: string): string => fileURLToPath(new URL(`python/${name}`, import.meta.url));
const python = findPython("openai");
const triton = findPython("triton");
const curl = findTool("curl");

(python ? test : test.skip)("OpenAI's Python client agrees with PyTorch", async (t) => {
  const server = await startServer(t, [textModelFolder]);
  const { code, output } = await runTool(python!, [
    script("openai_client.py"),
    server.address,
    textModelFolder,
  ]);
  t.is(code, 0, output);
  t.regex(output, /\d+ checks/);
});

(triton ? test : test.skip)("tritonclient gets text as from Triton's vLLM backend", async (t) => {
  const server = await startServer(t, [textModelFolder]);
  const args = [script("triton_text_clients.py"), server.address, textModelFolder];
  const { code, output } = await runTool(triton!, args);
  t.is(code, 0, output);
  t.regex(output, /\d+ checks/);
});

(curl ? test : test.skip)("curl reads generate and generate_stream", async (t) => {
  const server = await startServer(t, [textModelFolder]);
  const [{ prompt, text }] = (await expectedTexts()) as [ExpectedText];
  const body = JSON.stringify({
    text_input: prompt,
    parameters: { max_tokens: 60, temperature: 0 },
  });
  const url = `${server.url}/v2/models/opticks`;
  const whole = await runTool(curl!, ["--silent", "--fail", `${url}/generate`, "--data", body]);
  t.is(whole.code, 0, whole.output);
  t.is((JSON.parse(whole.output) as { text_output: string }).text_output, text);
  // Over HTTP/2 as well: events are frames there.
  for (const version of ["--http1.1", "--http2-prior-knowledge"]) {
    const args = [
      "--silent",
      "--fail",
      "--no-buffer",
      version,
      `${url}/generate_stream`,
      "--data",
      body,
    ];
    const { code, output } = await runTool(curl!, args);
    t.is(code, 0, output);
    const events = output.trimEnd().split("\n\n");
    t.true(events.every((event) => event.startsWith("data: ")));
    const pieces = events.map(
      (event) => (JSON.parse(event.slice(6)) as { text_output: string }).text_output,
    );
    t.is(pieces.join(""), text);
  }
});
