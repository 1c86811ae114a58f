import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { createStaticFiles } from "../../server/rpc/static-files.ts";
import { text } from "../wire/start-wire.ts";

const secret = "what must not get out";

/** A folder `site` to serve, beside files that it must not reach. */
async function siteOf(t: ExecutionContext<unknown>): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "tensorwire-")));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const site = join(folder, "site");
  await mkdir(join(site, "sub folder", "none"), { recursive: true });
  await mkdir(join(folder, "site-2"));
  await Promise.all([
    writeFile(join(folder, "secret.txt"), secret),
    writeFile(join(folder, "site-2", "secret.txt"), secret),
    writeFile(join(site, ".env"), secret),
    writeFile(join(site, "index.html"), "<p>home"),
    writeFile(join(site, "app.JS"), "js"),
    writeFile(join(site, "model.wasm"), "wasm"),
    writeFile(join(site, "sub folder", "index.html"), "<p>sub"),
    symlink(join(folder, "secret.txt"), join(site, "link.txt")),
    symlink(folder, join(site, "up")),
    symlink(join(site, "index.html"), join(site, "home.html")),
    symlink("loop", join(site, "loop")),
  ]);
  return site;
}

function request(
  path: string,
  method = "GET",
  header: Record<string, string> = {},
): UniversalServerRequest {
  return {
    httpVersion: "1.1",
    method,
    url: `http://localhost${path}`,
    header: new Headers(header),
    body: text(""),
    signal: new AbortController().signal,
  };
}

async function bodyOf(body: AsyncIterable<Uint8Array> | undefined): Promise<string> {
  return body ? Buffer.concat(await Array.fromAsync(body)).toString() : "";
}

test("files are served with type, length and tag", async (t) => {
  const serve = await createStaticFiles(await siteOf(t));
  for (const [path, type, content] of [
    ["/", "text/html; charset=utf-8", "<p>home"],
    ["/index.html?x=1", "text/html; charset=utf-8", "<p>home"],
    ["/app.JS", "text/javascript; charset=utf-8", "js"],
    ["/model.wasm", "application/wasm", "wasm"],
    ["/sub%20folder/", "text/html; charset=utf-8", "<p>sub"],
    ["/home.html", "text/html; charset=utf-8", "<p>home"],
  ] as const) {
    const answer = await serve(request(path));
    t.is(answer?.status, 200, path);
    t.is(answer?.header?.get("content-type"), type, path);
    t.is(answer?.header?.get("content-length"), String(content.length), path);
    t.is(answer?.header?.get("x-content-type-options"), "nosniff");
    t.is(await bodyOf(answer?.body), content, path);
  }
});

test("a file that the browser has is not sent again", async (t) => {
  const serve = await createStaticFiles(await siteOf(t));
  const etag = (await serve(request("/")))!.header!.get("etag")!;
  for (const given of [etag, `W/${etag}`, `"x", ${etag}`]) {
    const answer = await serve(request("/", "GET", { "if-none-match": given }));
    t.is(answer?.status, 304, given);
    t.is(answer?.body, undefined);
    t.is(answer?.header?.get("etag"), etag);
  }
  t.is((await serve(request("/", "GET", { "if-none-match": '"x"' })))?.status, 200);
});

test("a folder without its slash is redirected, to this server only", async (t) => {
  const serve = await createStaticFiles(await siteOf(t));
  for (const path of ["/sub%20folder", "//sub%20folder"]) {
    const answer = await serve(request(path));
    t.is(answer?.status, 308);
    t.is(answer?.header?.get("location"), "/sub%20folder/");
  }
});

test("what is not there, and other methods, are left to others", async (t) => {
  const serve = await createStaticFiles(await siteOf(t));
  for (const path of ["/none", "/sub%20folder/none", "/sub%20folder/none/", "/index.html/x"]) {
    t.is(await serve(request(path)), undefined, path);
  }
  t.is(await serve(request("/", "POST")), undefined);
  t.is((await serve(request("/", "HEAD")))?.status, 200);
});

test("no link, name or encoding leads out of the folder, or to hidden files", async (t) => {
  const serve = await createStaticFiles(await siteOf(t));
  for (const path of [
    "/../secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%5csecret.txt",
    "/sub%20folder/../../secret.txt",
    "/link.txt",
    "/up/secret.txt",
    "/up/site-2/secret.txt",
    "/up/site/index.html",
    "/../site-2/secret.txt",
    "/.env",
    "/%2eenv",
    "/index.html%00.txt",
    "/%",
    "/%ff",
    "/loop",
    `/${"x".repeat(5000)}`,
  ]) {
    const answer = await serve(request(path));
    if (path === "/up/site/index.html") t.is(await bodyOf(answer?.body), "<p>home");
    else t.is(answer, undefined, path);
  }
});

const piece = fc.oneof(
  fc.constantFrom(
    "..",
    ".",
    "%2e%2e",
    "%2E",
    "%2f",
    "/",
    "//",
    "%5c",
    "\\",
    "%00",
    "up",
    "link.txt",
    "secret.txt",
    "site",
    "site-2",
    ".env",
    "index.html",
    "sub%20folder",
    "%",
    "%25",
  ),
  fc.string({ maxLength: 4 }),
);

test("no path gives what is outside", async (t) => {
  const serve = await createStaticFiles(await siteOf(t));
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 8 }), fc.boolean(), async (pieces, slashes) => {
      const answer = await serve(request(`/${pieces.join(slashes ? "/" : "")}`));
      t.false((await bodyOf(answer?.body)).includes(secret));
      t.true(answer?.header?.get("location")?.startsWith("//") !== true);
    }),
    { numRuns: 1000 },
  );
});
