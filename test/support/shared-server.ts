import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "./command.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/**
 * Starts one server before the tests of a file, and ends it after them: for tests that do not mind each
 * other.
 *
 * @param repositories - folders that are served beside the files
 * @param files - of a repository of its own
 */
export function serveForAll(
  repositories: readonly string[],
  files: Readonly<Record<string, string>>,
): () => Promise<RunningServer> {
  const endings: (() => unknown)[] = [];
  // Hooks have no teardown of their own.
  const life = {
    teardown: (end: () => unknown) => endings.push(end),
  } as unknown as ExecutionContext;
  const server = Promise.withResolvers<RunningServer>();
  test.before(async () => {
    const folder = await temporaryFolder(life, files);
    server.resolve(await startServer(life, [folder, ...repositories]));
  });
  test.after.always(async () => {
    for (const end of endings.reverse()) await end();
  });
  return () => server.promise;
}
