import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { connect } from "node:http2";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ServiceError } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startCommand, startServer } from "../support/command.ts";
import { grpcJsClient, type Message } from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));
const broken = fileURLToPath(new URL("../fixtures/broken", import.meta.url));
const service = "inference.GRPCInferenceService";

/** Starts two workers on a folder with one model, `adder`. */
async function startTwo(
  t: ExecutionContext,
  ...flags: readonly string[]
): Promise<RunningServer & { readonly folder: string }> {
  const folder = await temporaryFolder(t, { "adder/1/model.onnx": addModel(1) });
  return { ...(await startServer(t, [folder, "--workers", "2", ...flags])), folder };
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

/** One connection that stays open. */
interface KeptConnection {
  get(path: string): Promise<Answer>;
  post(path: string, body?: object): Promise<Answer>;
}

function keepConnection(t: ExecutionContext, url: string): KeptConnection {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const send = (method: string, path: string, body?: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request(`${url}${path}`, { method, agent }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on("end", () => resolve({ status: response.statusCode, body: text }));
        response.on("error", reject);
      });
      sent.on("error", reject);
      sent.end(body && JSON.stringify(body));
    });
  return {
    get: (path) => send("GET", path),
    post: (path, body) => send("POST", path, body),
  };
}

function keepConnections(t: ExecutionContext, url: string, count: number): KeptConnection[] {
  return Array.from({ length: count }, () => keepConnection(t, url));
}

/** Values of the metrics by series. */
async function metrics(of: KeptConnection): Promise<ReadonlyMap<string, number>> {
  const { body } = await of.get("/metrics");
  const lines = body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(" ");
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

/** Process ids of the workers by number. */
function pids(values: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const infos = [...values.keys()].flatMap((series) => {
    const found = /^tensorwire_worker_info\{worker="(\d+)",pid="(\d+)"\}$/.exec(series);
    return found ? [[found[1]!, Number(found[2])] as const] : [];
  });
  return new Map(infos);
}

const inferOne = {
  inputs: [{ name: "x", datatype: "FP32", shape: [1], data: [2] }],
};

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Kills a worker and waits until another process serves in its place. */
async function killAndAwait(observer: KeptConnection): Promise<void> {
  // The one that the observer talks to is to live on; its connection is the only one.
  const values = await metrics(observer);
  const before = pids(values);
  const other = ["1", "2"].find(
    (number) => values.get(`tensorwire_worker_open_connections{worker="${number}"}`) === 0,
  );
  process.kill(before.get(other!)!, "SIGKILL");
  let now = values;
  while (
    pids(now).get(other!) === before.get(other!) ||
    now.get("tensorwire_workers_serving") !== 2
  )
    now = await metrics(observer);
}

test.serial(
  "40 connections reach both workers alike; metrics and statistics are those of both",
  async (t) => {
    const server = await startTwo(t);
    const connections = keepConnections(t, server.url, 40);
    for (const connection of connections) {
      const { status, body } = await connection.post("/v2/models/adder/infer", inferOne);
      t.is(status, 200);
      t.deepEqual(JSON.parse(body).outputs[0].data, [3]);
    }
    const values = await metrics(connections[0]!);
    t.is(values.get('tensorwire_worker_open_connections{worker="1"}'), 20);
    t.is(values.get('tensorwire_worker_open_connections{worker="2"}'), 20);
    t.is(values.get("tensorwire_open_connections"), 40);
    t.is(values.get('nv_inference_request_success{model="adder",version="1"}'), 40);
    t.is(values.get('tensorwire_model_ready{model="adder",version="1"}'), 1);
    for (const connection of connections.slice(0, 2)) {
      const { body } = await connection.get("/v2/models/adder/versions/1/stats");
      const [stats] = JSON.parse(body).model_stats;
      t.is(stats.inference_count, 40);
      t.is(stats.inference_stats.success.count, 40);
      t.is(stats.batch_stats[0].compute_infer.count, 40);
    }
  },
);

test.serial(
  "load and unload through one connection reach both workers, also one that comes later",
  async (t) => {
    const server = await startTwo(t);
    const observer = keepConnection(t, server.url);
    t.is((await observer.post("/v2/repository/models/adder/unload")).status, 200);
    await killAndAwait(observer);
    const connections = keepConnections(t, server.url, 8);
    for (const connection of connections) {
      t.is((await connection.get("/v2/models/adder/ready")).status, 503);
    }
    t.is((await connections[0]!.post("/v2/repository/models/adder/load")).status, 200);
    for (const connection of connections) {
      t.is((await connection.get("/v2/models/adder/ready")).status, 200);
      t.is((await connection.post("/v2/models/adder/infer", inferOne)).status, 200);
    }
    const refused = await connections[1]!.post("/v2/repository/models/other/load");
    t.is(refused.status, 404);
    t.regex(refused.body, /MODEL_NOT_FOUND/);
    const index = await connections[2]!.post("/v2/repository/index");
    t.deepEqual(JSON.parse(index.body), [
      { name: "adder", version: "1", state: "READY", reason: "" },
    ]);
  },
);

test.serial(
  "a worker that is killed is started again; the other answers, and no count falls",
  async (t) => {
    const server = await startTwo(t);
    const observer = keepConnection(t, server.url);
    const success = 'nv_inference_request_success{model="adder",version="1"}';
    await observer.get("/v2");
    for (let call = 0; call < 6; call++) {
      const { status } = await keepConnection(t, server.url).post(
        "/v2/models/adder/infer",
        inferOne,
      );
      t.is(status, 200);
    }
    t.is((await metrics(observer)).get(success), 6);
    const before = pids(await metrics(observer));
    const values = await metrics(observer);
    t.is(values.get("tensorwire_worker_restarts_total"), 0);
    process.kill(before.get("2")!, "SIGKILL");
    // Whichever of them the observer was at, one of them answers.
    let now = values;
    const answered: (number | undefined)[] = [];
    while (pids(now).get("2") === before.get("2") || now.get("tensorwire_workers_serving") !== 2) {
      const fresh = keepConnection(t, server.url);
      const answer = await fresh.get("/v2/health/ready").catch(() => undefined);
      if (answer) answered.push(answer.status);
      now = await metrics(keepConnection(t, server.url)).catch(() => now);
    }
    t.true(answered.length > 0);
    t.deepEqual(new Set(answered), new Set([200]));
    t.is(now.get("tensorwire_worker_restarts_total"), 1);
    t.is(now.get(success), 6);
    t.is(pids(now).get("1"), before.get("1"));
    t.regex(
      server.stderr(),
      /"worker":2,"signal":"SIGKILL".*"a worker ended; it is started again"/,
    );
  },
);

const slowRequest: Message = {
  model_name: "slow",
  inputs: [{ name: "rounds", datatype: "INT64", shape: [] }],
  raw_input_contents: [Buffer.from(BigInt64Array.of(400n).buffer)],
};

test.serial(
  "SIGTERM to the supervisor: calls in flight in both workers are answered, and the exit code is 0",
  async (t) => {
    const server = await startServer(t, [fixtures, "--workers", "2"]);
    const observer = keepConnection(t, server.url);
    const clients = Array.from({ length: 4 }, () => grpcJsClient(server.address, service));
    t.teardown(() => {
      for (const client of clients) client.close();
    });
    const inFlight = clients.map((client) => client.call("ModelInfer", slowRequest));
    const running = 'tensorwire_model_running_requests{model="slow",version="1"}';
    const waiting = 'nv_inference_pending_request_count{model="slow",version="1"}';
    let values = await metrics(observer);
    while ((values.get(running) ?? 0) + (values.get(waiting) ?? 0) < 4) {
      values = await metrics(observer);
    }
    server.process.kill("SIGTERM");
    for (const answer of await Promise.all(inFlight)) {
      t.is((answer.raw_output_contents as Buffer[]).length, 1);
    }
    t.is(await server.ended, 0);
  },
);

test.serial(
  "SIGTERM under load: every call is answered or refused as UNAVAILABLE, none is lost",
  async (t) => {
    const server = await startTwo(t);
    const clients = Array.from({ length: 8 }, () => grpcJsClient(server.address, service));
    t.teardown(() => {
      for (const client of clients) client.close();
    });
    const call = {
      model_name: "adder",
      inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
      raw_input_contents: [Buffer.from(Float32Array.of(2).buffer)],
    };
    let answered = 0;
    const codes = new Set<number>();
    const loops = clients.map(async (client) => {
      for (;;) {
        try {
          await client.call("ModelInfer", call);
          if (++answered === 200) server.process.kill("SIGTERM");
        } catch (error) {
          codes.add((error as ServiceError).code);
          return;
        }
      }
    });
    await Promise.all(loops);
    t.true(answered >= 200);
    t.deepEqual([...codes], [14]);
    t.is(await server.ended, 0);
  },
);

test.serial(
  "a call that outlasts the drain timeout ends with exit code 5; Ctrl-C in a terminal is one signal",
  async (t) => {
    const server = await startServer(t, [fixtures, "--workers", "2", "--drain-timeout", "200ms"]);
    const observer = keepConnection(t, server.url);
    const client = grpcJsClient(server.address, service);
    t.teardown(() => client.close());
    const rounds = Buffer.from(BigInt64Array.of(100_000n).buffer);
    const inFlight = client
      .call("ModelInfer", { ...slowRequest, raw_input_contents: [rounds] })
      .catch((error: ServiceError) => error.code);
    let values = await metrics(observer);
    const running = 'tensorwire_model_running_requests{model="slow",version="1"}';
    while (values.get(running) !== 1) values = await metrics(observer);
    // As the terminal does, which sends it to every process.
    for (const pid of [server.process.pid!, ...pids(values).values()]) process.kill(pid, "SIGINT");
    t.is(await inFlight, 14);
    t.is(await server.ended, 5);
  },
);

test.serial("workers end when their supervisor is killed", async (t) => {
  const server = await startTwo(t);
  const workers = [...pids(await metrics(keepConnection(t, server.url))).values()];
  t.is(workers.length, 2);
  server.process.kill("SIGKILL");
  await until(
    () => !workers.some(isAlive),
    () => `of ${workers} are alive ${workers.filter(isAlive)}`,
  );
  t.pass();
});

test.serial("workers speak TLS with the certificate of the settings", async (t) => {
  const certificates = new URL("../clients/typescript/certificates/", import.meta.url);
  const file = (name: string): string => fileURLToPath(new URL(name, certificates));
  const flags = ["--tls-cert", file("server.pem"), "--tls-key", file("server.key")];
  const server = await startTwo(t, ...flags);
  const session = connect(server.url.replace("127.0.0.1", "localhost"), {
    ca: await readFile(file("ca.pem")),
    host: "127.0.0.1",
  });
  t.teardown(() => session.destroy());
  const stream = session.request({ ":path": "/v2/models/adder" });
  const [headers] = (await once(stream, "response")) as [{ ":status": number }];
  t.is(headers[":status"], 200);
});

test.serial("a unix socket and a second port are answered by workers too", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "server.sock");
  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  const { port } = holder.address() as { port: number };
  await once(holder.close(), "close");
  const server = await startTwo(t, "--unix", path, "--grpc-port", `${port}`);
  for (const address of [`unix:${path}`, `127.0.0.1:${port}`, server.address]) {
    const client = grpcJsClient(address, service);
    t.teardown(() => client.close());
    t.is((await client.call("ModelMetadata", { name: "adder" })).name, "adder");
  }
  // Control is for this machine, which a unix socket is.
  const client = grpcJsClient(`unix:${path}`, service);
  t.teardown(() => client.close());
  await client.call("RepositoryModelUnload", { model_name: "adder" });
  server.process.kill("SIGTERM");
  t.is(await server.ended, 0);
});

test.serial(
  "what fails at the start ends the command with its message, once, and its exit code",
  async (t) => {
    const holder = createServer().listen(0, "127.0.0.1");
    t.teardown(() => holder.close());
    await once(holder, "listening");
    const { port } = holder.address() as { port: number };
    const two = ["--workers", "2"];
    const taken = startCommand(t, ["serve", fixtures, ...two, "--port", `${port}`]);
    const noKey = startCommand(t, [
      ...["serve", fixtures, ...two, "--port", "0"],
      ...["--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"],
    ]);
    t.is(await taken.ended, 3);
    t.regex(taken.stderr(), new RegExp(`127\\.0\\.0\\.1:${port}`));
    t.is(await noKey.ended, 2);
    t.is(noKey.stderr().match(/setting tls-cert/g)?.length, 1);
    const nowhere = startCommand(t, ["serve", "/nowhere/at/all", ...two, "--port", "0"]);
    const strict = startCommand(t, ["serve", broken, ...two, "--port", "0", "--exit-on-error"]);
    t.is(await nowhere.ended, 4);
    t.regex(nowhere.stderr(), /nowhere/);
    t.is(await strict.ended, 4);
  },
);
