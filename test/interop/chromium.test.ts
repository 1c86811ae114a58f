import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { chromium, type Page } from "playwright-core";
import { startServer } from "../support/command.ts";
import { findTool, runTool } from "../support/tools.ts";
import { tlsFlags } from "./wire/certificates.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const browserPath = findTool("chromium");
const maybe = browserPath ? test : test.skip;

/** Opens the example page in a headless browser; the browser ends with the test. */
async function openPage(
  t: ExecutionContext,
  url: string,
  options: { readonly ignoreHTTPSErrors?: boolean } = {},
): Promise<Page> {
  const browser = await chromium.launch({
    executablePath: browserPath!,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  t.teardown(() => browser.close());
  const page = await browser.newPage(options);
  await page.goto(url);
  return page;
}

(browserPath ? test.before : test.before.skip)(async (t) => {
  const { code, output } = await runTool(process.execPath, [path("scripts/launch.mjs"), "build"]);
  t.is(code, 0, output);
});

/** An upright ellipse, as a person writes a zero. */
const zero = Array.from({ length: 33 }, (_, step): readonly [number, number] => {
  const angle = (step / 32) * 2 * Math.PI;
  return [0.5 + 0.2 * Math.sin(angle), 0.5 - 0.35 * Math.cos(angle)];
});

/** Draws lines with the mouse; points in parts of the pad's size. */
async function draw(page: Page, ...points: (readonly [number, number])[]): Promise<void> {
  const pad = page.locator("#pad");
  await pad.scrollIntoViewIfNeeded();
  const box = (await pad.boundingBox())!;
  const at = ([x, y]: readonly [number, number]): [number, number] => [
    box.x + x * box.width,
    box.y + y * box.height,
  ];
  await page.mouse.move(...at(points[0]!));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 3 });
  await page.mouse.up();
}

maybe("a digit drawn with the mouse is read over gRPC-Web, and then over Connect", async (t) => {
  const server = await startServer(t, [
    path("examples/models"),
    "--static-dir",
    path("examples/digits-page/dist"),
  ]);
  const page = await openPage(t, server.url);
  const types = new Set<string>();
  page.on("request", (request) => {
    if (request.url().includes("ModelInfer")) types.add(request.headers()["content-type"] ?? "");
  });
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));

  await draw(page, ...zero);
  await page.waitForFunction(() => document.querySelector("#digit")?.textContent === "0");
  t.deepEqual([...types], ["application/grpc-web+proto"]);

  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelector("#digit")?.textContent !== "0");
  await page.getByRole("radio", { name: "Connect" }).check();
  await draw(page, ...zero);
  await page.waitForFunction(() => document.querySelector("#digit")?.textContent === "0");
  t.true(types.has("application/proto"), [...types].join());
  t.deepEqual(errors, []);
});

maybe("the page says so when the server is gone", async (t) => {
  const server = await startServer(t, [
    path("examples/models"),
    "--static-dir",
    path("examples/digits-page/dist"),
  ]);
  const page = await openPage(t, server.url);
  server.process.kill("SIGKILL");
  await server.ended;
  await draw(page, [0.5, 0.1], [0.5, 0.9]);
  await page.locator("#error").waitFor({ state: "visible" });
  t.true(((await page.locator("#error").textContent()) ?? "").length > 20);
});

maybe("over TLS the browser speaks HTTP/2, with both protocols", async (t) => {
  const server = await startServer(t, [
    path("examples/models"),
    ...["--static-dir", path("examples/digits-page/dist")],
    ...tlsFlags,
  ]);
  // The authority of the tests' certificates is none that a browser knows.
  const page = await openPage(t, server.url, { ignoreHTTPSErrors: true });
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  // Of each answer, and of answers only: the page gives up calls whose drawing has changed, and a call that
  // is given up before its answer begins has '' for its protocol in the list of performance entries.
  const answers = new Set<string>();
  const devTools = await page.context().newCDPSession(page);
  await devTools.send("Network.enable");
  devTools.on("Network.responseReceived", ({ response }) => {
    if (!response.url.includes("ModelInfer")) return;
    answers.add(`${response.status} ${response.mimeType} over ${response.protocol}`);
  });
  for (const protocol of ["gRPC-Web", "Connect"]) {
    await page.getByRole("radio", { name: protocol }).check();
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelector("#digit")?.textContent !== "0");
    await draw(page, ...zero);
    await page.waitForFunction(() => document.querySelector("#digit")?.textContent === "0");
  }
  t.deepEqual(
    answers,
    new Set(["200 application/grpc-web+proto over h2", "200 application/proto over h2"]),
  );
  t.deepEqual(errors, []);
});
