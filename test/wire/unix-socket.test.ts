import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { peerKey } from "../../server/wire/peer.ts";
import { startWire, text } from "./start-wire.ts";

async function folderOf(t: ExecutionContext<unknown>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tensorwire-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function get(socketPath: string): Promise<string> {
  const call = request({ socketPath, path: "/" });
  call.end();
  const [response] = await once(call, "response");
  return Buffer.concat(await response.toArray()).toString();
}

test("a unix socket serves beside TCP, for this user only, and its file goes at the end", async (t) => {
  const path = join(await folderOf(t), "s.sock");
  const { wire, port } = await startWire(
    t,
    async ({ contextValues }) => ({
      status: 200,
      body: text(JSON.stringify(contextValues?.get(peerKey))),
    }),
    { unix: { path } },
  );
  t.true(port > 0);
  t.is(wire.unixPath, path);
  t.deepEqual(JSON.parse(await get(path)), { address: "unix", local: true });
  t.is((await stat(path)).mode & 0o777, 0o600);
  await wire.drain();
  await t.throwsAsync(() => access(path), { code: "ENOENT" });
});

test("the socket file of a dead server is replaced", async (t) => {
  const path = join(await folderOf(t), "s.sock");
  // A process that is killed leaves its socket behind.
  const child = spawn(process.execPath, [
    "-e",
    `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("on"))`,
  ]);
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  t.true((await stat(path)).isSocket());
  await startWire(t, async () => ({ status: 200, body: text("new") }), { unix: { path } });
  t.is(await get(path), "new");
});

test("the socket of a live server stays, and the error says what to do", async (t) => {
  const path = join(await folderOf(t), "s.sock");
  const other = createServer((socket) => socket.destroy());
  t.teardown(() => other.close());
  other.listen(path);
  await once(other, "listening");
  const error = await t.throwsAsync(
    () => startWire(t, async () => ({ status: 200 }), { unix: { path } }),
    { instanceOf: TensorwireError, message: /in use; stop the program/ },
  );
  t.is(error.reason, "LISTEN_FAILED");
  t.true(error.message.includes(path));
  t.true(other.listening);
  t.true((await stat(path)).isSocket());
});

test("a file that is no socket stays", async (t) => {
  const path = join(await folderOf(t), "s.sock");
  await writeFile(path, "precious");
  await t.throwsAsync(() => startWire(t, async () => ({ status: 200 }), { unix: { path } }), {
    instanceOf: TensorwireError,
    message: /a file that is no socket is there/,
  });
  t.true((await stat(path)).isFile());
});

test("a folder that is not there is named", async (t) => {
  const path = join(await folderOf(t), "none", "s.sock");
  await t.throwsAsync(() => startWire(t, async () => ({ status: 200 }), { unix: { path } }), {
    instanceOf: TensorwireError,
    message: /its folder does not exist/,
  });
});
