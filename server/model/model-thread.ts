import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../errors/from-unknown.ts";
import { createObservationRelay } from "../generation/observation-relay.ts";
import { checkDefinition } from "./check-definition.ts";
import type { ModelLog } from "./define-model.ts";
import { ModelCalls } from "./model-calls.ts";
import { ServerCalls } from "./server-calls.ts";
import type { FromThread, ThreadData, ToThread } from "./thread-messages.ts";

// The body of the thread of a model in TypeScript.

const port = parentPort;
if (!port) throw new Error("model-thread runs in a worker thread only");
const data = workerData as ThreadData;

const post = (message: FromThread, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

/** A module that models import; it has the extension of this one. */
const moduleUrl = (name: string): string =>
  new URL(`./${name}${import.meta.url.slice(-3)}`, import.meta.url).href;

const modules: Readonly<Record<string, string>> = {
  "tensorwire/model": moduleUrl("model-api"),
  "tensorwire/text-model": moduleUrl("text-model-api"),
};

// A model needs no node_modules to find them, and gets the copies of this server.
registerHooks({
  resolve(specifier, context, next) {
    const url = Object.hasOwn(modules, specifier) ? modules[specifier] : undefined;
    return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
  },
});

const writeLog =
  (level: keyof ModelLog) =>
  (fields: Readonly<Record<string, unknown>>, message: string): void => {
    try {
      post({ kind: "log", level, fields, message });
    } catch {
      // A field that no message can hold, such as a function.
      post({ kind: "log", level, fields: { fields: String(fields) }, message });
    }
  };

const log: ModelLog = {
  debug: writeLog("debug"),
  info: writeLog("info"),
  warn: writeLog("warn"),
  error: writeLog("error"),
};

const generations = createObservationRelay(
  (ms, action) => {
    const timer = setTimeout(action, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  (observation) => post({ kind: "generated", observation }),
);

const server = new ServerCalls(post);
let calls: ModelCalls | undefined;
let unload: () => unknown = () => {};

port.on("message", (message: ToThread) => {
  switch (message.kind) {
    case "infer":
      void calls?.infer(message);
      break;
    case "cancel":
      calls?.cancel(message.id);
      break;
    case "more":
      calls?.more(message.id);
      break;
    case "ping":
      post({ kind: "pong" });
      break;
    case "end":
      void end();
      break;
    default:
      server.take(message);
  }
});

async function load(): Promise<void> {
  const { name, version, path, folder, parameters } = data;
  const { default: exported } = (await import(pathToFileURL(path).href)) as { default?: unknown };
  const { definition, model } = checkDefinition(exported);
  const client = server.client();
  const observeGenerations = generations.observe;
  const context = { name, version, folder, parameters, client, log, observeGenerations };
  const state = await definition.load?.(context);
  unload = () => definition.unload?.(state);
  calls = new ModelCalls({ name, definition, model, state, server, log, post });
  generations.flush();
  post({ kind: "loaded", model });
}

async function end(): Promise<void> {
  try {
    await unload();
  } catch (error) {
    log.warn({ why: messageOf(error) }, "unload of the model failed");
  }
  generations.flush();
  process.exit();
}

try {
  await load();
} catch (error) {
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
  post({ kind: "unloadable", why: `${messageOf(error)}\n${why}` });
}
