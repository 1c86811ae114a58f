import "./heap-flags.ts";
import "./light-globals.ts";
import { SupervisorLink } from "../cluster/supervisor-link.ts";
import { endProcess } from "../lifecycle/end-process.ts";
import { commandError } from "./command-error.ts";
import { runServer, type ServerSettings } from "./serve.ts";
import { workerRole } from "./serve-worker.ts";

// The program of one worker of `tensorwire serve --workers N`, started by its supervisor.

if (process.send === undefined) {
  process.stderr.write("tensorwire: tensorwire serve --workers starts this program; call that\n");
  process.exit(2);
}
const link = new SupervisorLink<ServerSettings>(process);
const start = await link.started;
process.title = `tensorwire worker ${start.number}`;
let exitCode: number;
try {
  exitCode = await runServer(start.settings, workerRole(link, start));
} catch (error) {
  const failure = commandError(error, "serve");
  await link.failed(failure.text, failure.exitCode);
  exitCode = failure.exitCode;
}
endProcess(exitCode);
