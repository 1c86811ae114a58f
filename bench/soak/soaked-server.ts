import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What a server holds at one time. */
export interface ServerSample {
  readonly openConnections: number;
  readonly openStreams: number;
  /** Timers that keep the process alive. */
  readonly timers: number;
  readonly fileDescriptors: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly residentBytes: number;
  /** Delay of the event loop since the last sample, in ms. */
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
  /** Refusals of the wire since the start, by reason; those that are 0 left out. */
  readonly refusals: Readonly<Record<string, number>>;
}

/** How the command is started. */
export interface SoakedServerOptions {
  /** Model repository. */
  readonly models: string;
  /** Further flags. */
  readonly flags: readonly string[];
}

const fixtures: SoakedServerOptions = { models: "test/fixtures/models", flags: [] };

/** The real command in a process of its own, observed through its metrics and its inspector. */
export class SoakedServer {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #inspector: WebSocket;
  readonly #stderr: () => string;
  #asked = 0;

  private constructor(
    port: number,
    process: ChildProcess,
    inspector: WebSocket,
    stderr: () => string,
  ) {
    this.port = port;
    this.#process = process;
    this.#inspector = inspector;
    this.#stderr = stderr;
  }

  /** Starts `tensorwire serve` on a free port; resolves when its models are ready. */
  static async start({ models, flags } = fixtures): Promise<SoakedServer> {
    const args = ["bin/tensorwire.js", "serve", models, "--port", "0", ...flags];
    const child = spawn(
      process.execPath,
      ["--inspect=127.0.0.1:0", ...args, "--log-level", "error"],
      { cwd: root, env: { ...process.env, NO_COLOR: "1" }, stdio: ["ignore", "pipe", "pipe"] },
    );
    const kill = (): void => void child.kill("SIGKILL");
    process.once("exit", kill);
    child.once("exit", () => process.off("exit", kill));
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (part: Buffer) => {
      stdout += part.toString();
    });
    child.stderr.on("data", (part: Buffer) => {
      stderr = (stderr + part.toString()).slice(-20_000);
    });
    const found = (text: () => string, pattern: RegExp): string | undefined =>
      pattern.exec(text())?.[1];
    const both = new Promise<[string, string]>((resolve, reject) => {
      const look = (): void => {
        const port = found(() => stdout, /listens on http:\/\/[^\s/]+:(\d+) \(ready/);
        const url = found(() => stderr, /Debugger listening on (ws:\S+)/);
        if (port && url) resolve([port, url]);
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${stderr}`)));
    });
    const [port, url] = await both;
    const inspector = new WebSocket(url);
    await once(inspector, "open");
    return new SoakedServer(Number(port), child, inspector, () => stderr);
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Sends it a signal. */
  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  /** What it wrote to its standard error, without what Node says of the inspector. */
  get complaints(): string {
    return this.#stderr()
      .split("\n")
      .filter((line) => line !== "" && !/^(Debugger|For help, see|Starting inspector)/.test(line))
      .join("\n");
  }

  /** Collects all garbage, in the server. */
  async collectGarbage(): Promise<void> {
    // Twice: what finalizers let go is found by the second one.
    for (let turn = 0; turn < 2; turn++) await this.#ask("HeapProfiler.collectGarbage");
  }

  /** Its metrics as it gives them. */
  async metrics(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.port}/metrics`, {
      // So that the scrape leaves no connection.
      headers: { connection: "close" },
    });
    return response.text();
  }

  async sample(): Promise<ServerSample> {
    const text = await this.metrics();
    const value = (name: string): number => {
      const line = new RegExp(`^${name.replace(/[{}"]/g, "\\$&")} (\\S+)$`, "m").exec(text);
      return line ? Number(line[1]) : 0;
    };
    const refusals: Record<string, number> = {};
    for (const [, reason, count] of text.matchAll(
      /^tensorwire_wire_refusals_total\{reason="([^"]+)"\} (\S+)$/gm,
    )) {
      if (Number(count) > 0) refusals[reason!] = Number(count);
    }
    return {
      // The scrape is one of each itself.
      openConnections: value("tensorwire_open_connections") - 1,
      openStreams: value("tensorwire_open_requests") - 1,
      timers: value('nodejs_active_resources{type="Timeout"}'),
      fileDescriptors: await this.#fileDescriptors(),
      heapBytes: value("nodejs_heap_size_used_bytes"),
      externalBytes: value("nodejs_external_memory_bytes"),
      residentBytes: value("process_resident_memory_bytes"),
      loopDelayP99Ms: value("nodejs_eventloop_lag_p99_seconds") * 1000,
      loopDelayMaxMs: value("nodejs_eventloop_lag_max_seconds") * 1000,
      refusals,
    };
  }

  /** The fewest of a moment: the scrape's own connection closes after its answer. */
  async #fileDescriptors(): Promise<number> {
    let fewest = Number.POSITIVE_INFINITY;
    for (let look = 0; look < 5; look++) {
      await wait(20);
      fewest = Math.min(fewest, readdirSync(`/proc/${this.#process.pid}/fd`).length);
    }
    return fewest;
  }

  /** Ends it as an operator would; gives the exit code. */
  async stop(): Promise<number | null> {
    this.#inspector.close();
    if (this.hasEnded) return this.#process.exitCode;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 15_000);
    const [code] = await ended;
    clearTimeout(timer);
    return code as number | null;
  }

  #ask(method: string): Promise<void> {
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      const listener = ({ data }: MessageEvent): void => {
        const answer = JSON.parse(String(data)) as { id?: number; error?: { message: string } };
        if (answer.id !== id) return;
        this.#inspector.removeEventListener("message", listener);
        if (answer.error) reject(new Error(`${method}: ${answer.error.message}`));
        else resolve();
      };
      this.#inspector.addEventListener("message", listener);
      this.#inspector.send(JSON.stringify({ id, method }));
    });
  }
}
