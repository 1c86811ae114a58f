import { fileURLToPath } from "node:url";
import type { Peer } from "./peer.ts";

/**
 * This project's server, from its sources.
 * @param flags - added to the command line, to compare settings
 */
export function ours(flags: readonly string[]): Peer {
  return {
    name: "ours",
    title: "Tensorwire",
    missing: () => undefined,
    launch: ({ models, port }) => ({
      command: process.execPath,
      args: [
        fileURLToPath(new URL("../../server/cli/main.ts", import.meta.url)),
        "serve",
        models,
        ...["--host", "127.0.0.1", "--port", `${port}`],
        ...["--intra-op-threads", "1", "--log-level", "warn"],
        // The largest case has 16 messages of 16 MiB under way on its one connection.
        ...["--max-connection-memory", "1GiB"],
        ...flags,
      ],
      readyUrl: `http://127.0.0.1:${port}/health/ready`,
    }),
  };
}
