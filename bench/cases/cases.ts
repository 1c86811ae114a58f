import type { BenchCase } from "./bench-case.ts";
import { convnet } from "./convnet.ts";
import { digits } from "./digits.ts";
import { forest } from "./forest.ts";
import { identity16mb } from "./identity-16mb.ts";
import { identity600kb } from "./identity-600kb.ts";
import { iris } from "./iris.ts";
import { iris64Rows } from "./iris-64-rows.ts";
import { serverLive } from "./server-live.ts";

/** Every case, in the order in which they run. */
export const cases: readonly BenchCase[] = [
  serverLive,
  iris,
  iris64Rows,
  forest,
  digits,
  convnet,
  identity600kb,
  identity16mb,
];
