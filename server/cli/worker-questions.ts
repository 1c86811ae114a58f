/** What workers are asked, and ask their supervisor. */
export const workerQuestions = {
  /** The registry's metrics as JSON; of the supervisor, the text of their sum. */
  metrics: "metrics",
  /** ModelStatistics; payload and answers are messages in binary form, of the supervisor a list. */
  statistics: "statistics",
  /** RepositoryIndex; likewise. */
  index: "index",
  /** Calls now and until now; the answer is a {@link WorkerLoad}. */
  load: "load",
  /** The start-up screen; the payload is a {@link ScreenRequest} as JSON, the answer a text. */
  screen: "screen",
} as const;

/** How much a worker has to do. */
export interface WorkerLoad {
  /** Calls that are in flight. */
  readonly inFlight: number;
  /** Calls that models have answered since the worker began, and the time that these took together, in ms. */
  readonly calls: number;
  readonly callMs: number;
}

/** What the supervisor knows and the start-up screen shows. */
export interface ScreenRequest {
  readonly urls: readonly string[];
  readonly startMs: number;
  readonly color: boolean;
}

/** What every worker does; the payload is the request in binary form. */
export const workerTasks = {
  load: "RepositoryModelLoad",
  unload: "RepositoryModelUnload",
  /** One setting of one model, or of the server; what is set was found to be valid. */
  trace: "TraceSetting",
  /** One setting; likewise. */
  log: "LogSettings",
  registerMemory: "SystemSharedMemoryRegister",
  unregisterMemory: "SystemSharedMemoryUnregister",
} as const;
