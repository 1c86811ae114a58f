import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

const linux = existsSync("/dev/shm") ? test : test.skip;

let objects = 0;

/** A shared memory object of 4 KiB that begins with the number 5. */
async function memoryObject(
  t: ExecutionContext,
): Promise<{ readonly key: string; readonly path: string }> {
  const name = `tensorwire_test_${process.pid}_${objects++}`;
  const path = join("/dev/shm", name);
  t.teardown(() => rm(path, { force: true }));
  const contents = Buffer.alloc(4096);
  contents.writeFloatLE(5);
  await writeFile(path, contents, { flag: "wx" });
  return { key: `/${name}`, path };
}

async function start(t: ExecutionContext, ...flags: readonly string[]): Promise<RunningServer> {
  const folder = await temporaryFolder(t, { "adder/1/model.onnx": addModel(1) });
  return startServer(t, [folder, ...flags]);
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

/** A call over a connection of its own. */
function post(url: string, body: object): Promise<Answer> {
  const agent = new Agent({ keepAlive: false });
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", agent }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on("end", () => resolve({ status: response.statusCode, body: text }));
    });
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
  });
}

const place = (offset: number): object => ({
  shared_memory_region: "r",
  shared_memory_byte_size: 4,
  shared_memory_offset: offset,
});

const infer = {
  inputs: [{ name: "x", datatype: "FP32", shape: [1], parameters: place(0) }],
  outputs: [{ name: "y", parameters: place(8) }],
};

const region = (server: RunningServer): string => `${server.url}/v2/systemsharedmemory/region/r`;
const model = (server: RunningServer): string => `${server.url}/v2/models/adder/infer`;

linux(
  "without --allow-shared-memory, regions and tensors in them are refused, with what to do",
  async (t) => {
    const server = await start(t);
    const { key } = await memoryObject(t);
    const register = await post(`${region(server)}/register`, { key, byte_size: 16 });
    t.is(register.status, 501);
    t.regex(register.body, /takes no shared memory; start it with --allow-shared-memory/);
    const called = await post(model(server), infer);
    t.is(called.status, 501);
    t.regex(called.body, /started without --allow-shared-memory; send the contents in the message/);
  },
);

linux(
  "a call finds its input in a region and leaves its output there; metrics say what is registered",
  async (t) => {
    const server = await start(t, "--allow-shared-memory", "--max-shared-memory", "64KiB");
    const { key, path } = await memoryObject(t);
    t.is((await post(`${region(server)}/register`, { key, offset: 0, byte_size: 16 })).status, 200);
    const { status, body } = await post(model(server), infer);
    t.is(status, 200, body);
    t.deepEqual(JSON.parse(body).outputs, [{ name: "y", datatype: "FP32", shape: [1] }]);
    t.is((await readFile(path)).readFloatLE(8), 6);
    const text = await (await fetch(`${server.url}/metrics`)).text();
    t.regex(text, /^tensorwire_system_shared_memory_regions 1$/m);
    t.regex(text, /^tensorwire_system_shared_memory_region_bytes 16$/m);
    t.regex(text, /^tensorwire_system_shared_memory_copied_bytes 0$/m);
    t.regex(text, /^tensorwire_system_shared_memory_limit_bytes 65536$/m);
    for (const [given, said] of [
      [{ key }, /"byte_size" of the body must be a number of bytes/],
      [{ byte_size: 4 }, /"key" of the body must be a string/],
      [{ key, byte_size: 4.5 }, /"byte_size" of the body must be/],
      [{ key, byte_size: -1 }, /"byte_size" of the body must be/],
    ] as const) {
      const refused = await post(`${region(server)}/register`, given);
      t.is(refused.status, 400);
      t.regex(JSON.parse(refused.body).error, said);
    }
    t.is((await post(`${region(server)}/register`, { key, byte_size: 4 })).status, 409);
    t.is((await post(`${server.url}/v2/systemsharedmemory/unregister`, {})).status, 200);
    const audited = (): (readonly string[])[] =>
      server
        .stderr()
        .split("\n")
        .flatMap((line) => {
          if (!line.includes('"audit":"control"')) return [];
          const { call, region: name, object, outcome } = JSON.parse(line);
          return [[call, name, object ?? "", outcome]];
        });
    await until(() => audited().length >= 3);
    t.deepEqual(audited(), [
      ["SystemSharedMemoryRegister", "r", key, "OK"],
      ["SystemSharedMemoryRegister", "r", key, "SHARED_MEMORY_REGION_EXISTS"],
      ["SystemSharedMemoryUnregister", "*", "", "OK"],
    ]);
  },
);

async function metrics(server: RunningServer): Promise<string> {
  return (await fetch(`${server.url}/metrics`)).text();
}

function pidOf(text: string, worker: number): number {
  const found = new RegExp(
    `^tensorwire_worker_info\\{worker="${worker}",pid="(\\d+)"\\} 1$`,
    "m",
  ).exec(text);
  return Number(found?.[1]);
}

linux(
  "all workers know a region, one that comes later too, and none after it is unregistered",
  async (t) => {
    const server = await start(t, "--allow-shared-memory", "--workers", "2");
    const { key } = await memoryObject(t);
    const statuses = async (): Promise<(number | undefined)[]> => {
      const calls = Array.from({ length: 8 }, () => post(model(server), infer));
      return (await Promise.all(calls)).map(({ status }) => status);
    };
    const all = (status: number): number[] => Array<number>(8).fill(status);
    t.is((await post(`${region(server)}/register`, { key, byte_size: 16 })).status, 200);
    t.deepEqual(await statuses(), all(200));
    const before = pidOf(await metrics(server), 2);
    process.kill(before, "SIGKILL");
    let text = "";
    while (pidOf(text, 2) === before || !/^tensorwire_workers_serving 2$/m.test(text)) {
      // A connection that the dead worker had breaks.
      text = await metrics(server).catch(() => "");
    }
    t.deepEqual(await statuses(), all(200));
    const counted = await metrics(server);
    t.regex(counted, /^tensorwire_system_shared_memory_regions 1$/m);
    t.regex(counted, /^tensorwire_system_shared_memory_regions_limit 128$/m);
    // All refuse what one refuses, and what all know stays.
    t.is((await post(`${region(server)}/register`, { key, byte_size: 4 })).status, 409);
    t.is(
      (
        await post(`${server.url}/v2/systemsharedmemory/region/s/register`, {
          key,
          byte_size: 9999,
        })
      ).status,
      400,
    );
    t.deepEqual(await statuses(), all(200));
    t.is((await post(`${server.url}/v2/systemsharedmemory/unregister`, {})).status, 200);
    t.deepEqual(await statuses(), all(404));
    t.is((await post(`${region(server)}/register`, { key, byte_size: 16 })).status, 200);
    t.deepEqual(await statuses(), all(200));
  },
);
