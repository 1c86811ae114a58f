import type { Scenario } from "../scenario.ts";
import { brokenVersions } from "./broken-versions.ts";
import { cancels } from "./cancels.ts";
import { killedWorkers } from "./killed-workers.ts";
import { modelThreads } from "./model-threads.ts";
import { rollingUpdate } from "./rolling-update.ts";
import { throwingModels } from "./throwing-models.ts";
import { vanishingClients } from "./vanishing-clients.ts";

/** Every scenario, in the order in which they run. */
export const scenarios: readonly Scenario[] = [
  cancels,
  vanishingClients,
  throwingModels,
  modelThreads,
  killedWorkers,
  brokenVersions,
  rollingUpdate,
];
