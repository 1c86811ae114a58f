import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import test from "ava";
import { startWire } from "../start-wire.ts";

const channel = new URL("../../../server/wire/client/wire-channel.ts", import.meta.url);

test("a channel without calls does not keep its process alive", async (t) => {
  const { port } = await startWire(t, async () => ({ status: 404 }));
  const script = `
    import { WireChannel } from ${JSON.stringify(channel.href)};
    const channel = new WireChannel({ target: { host: "127.0.0.1", port: ${port} } });
    const { status } = await channel.callUnary("/a/B", Buffer.alloc(1));
    console.log(status.code);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill());
  const output = await text(child.stdout);
  const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
  t.is(output.trim(), "12");
  t.is(code, 0);
});
