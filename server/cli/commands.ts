import type { Command } from "./command.ts";

/** The commands in the order in which help lists them, each loaded when it is asked for. */
const loaders: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import("./serve.ts")).serveCommand,
  infer: async () => (await import("./infer.ts")).inferCommand,
  models: async () => (await import("./models.ts")).modelsCommand,
  optimize: async () => (await import("./optimize.ts")).optimizeCommand,
  keys: async () => (await import("./keys.ts")).keysCommand,
  simulate: async () => (await import("./simulate.ts")).simulateCommand,
  scaler: async () => (await import("./scaler.ts")).scalerCommand,
  "queue-proxy": async () => (await import("./queue-proxy.ts")).queueProxyCommand,
};

/**
 * The commands that a first argument may mean: the one of that name, or all, for help and for what is
 * none. A server does not wait for the code of the others to load, nor keep it.
 */
export async function commandsFor(argument: string | undefined): Promise<readonly Command[]> {
  const load = argument !== undefined && Object.hasOwn(loaders, argument) && loaders[argument];
  return load ? [await load()] : Promise.all(Object.values(loaders).map((each) => each()));
}
