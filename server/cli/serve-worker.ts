import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  LogSettingsRequestSchema,
  ModelStatisticsRequestSchema,
  ModelStatisticsResponseSchema,
  RepositoryIndexRequestSchema,
  RepositoryIndexResponseSchema,
  RepositoryModelLoadRequestSchema,
  RepositoryModelUnloadRequestSchema,
  SystemSharedMemoryRegisterRequestSchema,
  SystemSharedMemoryUnregisterRequestSchema,
  TraceSettingRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import type { Question, Task, WorkerStart } from "../cluster/messages.ts";
import type { SupervisorLink } from "../cluster/supervisor-link.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { checkControl, checkNearness } from "../predictor/control-policy.ts";
import { type CallContext, SignalCallContext } from "../rpc/call-context.ts";
import type { InferenceBackend } from "../rpc/inference-backend.ts";
import { readLogChanges } from "../rpc/log-setting-messages.ts";
import { readTraceChanges } from "../rpc/trace-setting-messages.ts";
import type { WireServer } from "../wire/wire-server.ts";
import type { ServerSettings } from "./serve.ts";
import { listenNowhere } from "./serve-listen.ts";
import type { RoleParts, ServeRole } from "./serve-role.ts";
import { serveScreen } from "./start-screen.ts";
import { memoryEverywhere } from "./worker-memory.ts";
import {
  type ScreenRequest,
  type WorkerLoad,
  workerQuestions,
  workerTasks,
} from "./worker-questions.ts";
import { mergeIndexes, sumStatistics } from "./worker-sums.ts";

/** The role of a worker: connections, signals and word of the other workers come over the link. */
export function workerRole(
  link: SupervisorLink<ServerSettings>,
  start: WorkerStart<ServerSettings>,
): ServeRole {
  return new WorkerRole(link, start);
}

/** Stands for callers that another worker has heard already. */
const ofAnotherWorker: CallContext = new SignalCallContext(
  new AbortController().signal,
  { address: "another worker", local: true },
  new Headers(),
);

class WorkerRole implements ServeRole {
  readonly logFields: object;
  readonly traceSuffix: string;
  readonly events: ServeRole["events"];
  readonly #link: SupervisorLink<ServerSettings>;
  readonly #start: WorkerStart<ServerSettings>;
  /** Tasks of the others wait until the own start is done. */
  readonly #loaded = Promise.withResolvers<void>();
  #parts: RoleParts | undefined;

  constructor(link: SupervisorLink<ServerSettings>, start: WorkerStart<ServerSettings>) {
    this.#link = link;
    this.#start = start;
    this.logFields = { worker: start.number };
    this.traceSuffix = `.worker-${start.number}`;
    this.events = link.events;
  }

  begin(parts: RoleParts): void {
    this.#parts = parts;
  }

  backend(own: InferenceBackend): InferenceBackend {
    const { values } = this.#start.settings;
    const policy = {
      mode: values["model-control-mode"],
      allowRemote: values["allow-remote-control"],
    };
    const everywhere = async (task: Task, context: CallContext): Promise<void> => {
      checkControl(policy, context, task.name);
      const { address } = context.peer;
      this.#own.log.info({ model: task.key, peer: address, task: task.name }, "asked all workers");
      await this.#link.everywhere(task);
    };
    const memory = values["allow-shared-memory"]
      ? memoryEverywhere(own, (task) => this.#link.everywhere(task), policy)
      : {};
    return {
      ...own,
      ...memory,
      repositoryModelLoad: async (request, context) => {
        const key = request.modelName || request.repositoryName;
        const payload = toBinary(RepositoryModelLoadRequestSchema, request);
        await everywhere({ name: workerTasks.load, key, payload }, context);
        return { modelName: key, isLoaded: true };
      },
      repositoryModelUnload: async (request, context) => {
        const key = request.modelName || request.repositoryName;
        const payload = toBinary(RepositoryModelUnloadRequestSchema, request);
        await everywhere({ name: workerTasks.unload, key, payload }, context);
        return { modelName: key, isUnloaded: true };
      },
      traceSetting: async (request, context) => {
        const { modelName, settings } = request;
        // Whether there is such a model is known here.
        const asked = create(TraceSettingRequestSchema, { modelName });
        const before = await own.traceSetting(asked, context);
        if (Object.keys(settings).length === 0) return before;
        checkNearness(policy, context, workerTasks.trace);
        this.#own.traces.check(modelName, readTraceChanges(request));
        await this.#setEverywhere(workerTasks.trace, modelName, settings, (part) =>
          toBinary(
            TraceSettingRequestSchema,
            create(TraceSettingRequestSchema, { modelName, settings: part }),
          ),
        );
        return own.traceSetting(asked, context);
      },
      logSettings: async (request, context) => {
        const { settings } = request;
        if (Object.keys(settings).length > 0) {
          checkNearness(policy, context, workerTasks.log);
          readLogChanges(request);
          await this.#setEverywhere(workerTasks.log, "", settings, (part) =>
            toBinary(
              LogSettingsRequestSchema,
              create(LogSettingsRequestSchema, { settings: part }),
            ),
          );
        }
        return own.logSettings(create(LogSettingsRequestSchema), context);
      },
      modelStatistics: async (request, context) => {
        // A request that is refused is refused by each alike.
        const alone = await own.modelStatistics(request, context);
        const payload = toBinary(ModelStatisticsRequestSchema, request);
        const all = await this.#askAll(workerQuestions.statistics, payload);
        if (all.length === 0) return alone;
        const messages = all.map((bytes) => fromBinary(ModelStatisticsResponseSchema, bytes));
        return { modelStats: sumStatistics(messages.flatMap(({ modelStats }) => modelStats)) };
      },
      repositoryIndex: async (request, context) => {
        const alone = await own.repositoryIndex(request, context);
        // Which rows are READY is known when the workers' are one.
        const everything = create(RepositoryIndexRequestSchema, { ...request, ready: false });
        const payload = toBinary(RepositoryIndexRequestSchema, everything);
        const all = await this.#askAll(workerQuestions.index, payload);
        if (all.length === 0) return alone;
        const messages = all.map((bytes) => fromBinary(RepositoryIndexResponseSchema, bytes));
        const models = mergeIndexes(messages.map((message) => message.models));
        return {
          models: request.ready ? models.filter(({ state }) => state === "READY") : models,
        };
      },
    };
  }

  async metrics(): Promise<string> {
    const question = { name: workerQuestions.metrics, payload: new Uint8Array(0) };
    const sum = await this.#link.ask(question);
    return typeof sum === "string" ? sum : this.#own.registry.metrics();
  }

  async listen(
    values: Parameters<ServeRole["listen"]>[0],
    handlers: Parameters<ServeRole["listen"]>[1],
  ): Promise<readonly [WireServer, ...WireServer[]]> {
    const wire = await listenNowhere(values, handlers, this.#own.log);
    this.#link.take({
      serve: (socket, listener) => wire.accept(socket, listener),
      shed: (count) => void wire.shed(count),
      doTask: async (task) => {
        await this.#loaded.promise;
        await this.#doTask(task);
      },
      answer: (question) => this.#answer(question),
    });
    if (this.#start.accept === "at once") this.#link.accepting();
    return [wire];
  }

  async loaded(): Promise<void> {
    for (const task of this.#start.tasks) {
      try {
        await this.#doTask(task);
      } catch (error) {
        const fields = { task: task.name, model: task.key, why: messageOf(error) };
        this.#own.log.error(fields, "what the other workers did fails in this one");
      }
    }
    this.#loaded.resolve();
    await this.#link.loaded();
  }

  ready(): void {
    this.#link.accepting();
    this.#own.log.info({}, "ready");
  }

  leaving(): void {
    this.#link.leaving();
  }

  get #own(): RoleParts {
    if (!this.#parts) throw new Error("the role was used before it began");
    return this.#parts;
  }

  async #askAll(name: string, payload: Uint8Array): Promise<readonly Uint8Array[]> {
    return ((await this.#link.ask({ name, payload })) ?? []) as readonly Uint8Array[];
  }

  /**
   * Has all workers change settings, each as a task of its own: a worker that comes later does the last task
   * of each key, and so has what was set one after the other.
   */
  async #setEverywhere<Value>(
    name: string,
    model: string,
    settings: Readonly<Record<string, Value>>,
    toPayload: (setting: Record<string, Value>) => Uint8Array,
  ): Promise<void> {
    const tasks = Object.entries(settings).map(([setting, value]) => ({
      name,
      key: `${name} ${model} ${setting}`,
      payload: toPayload({ [setting]: value }),
    }));
    await Promise.all(tasks.map((task) => this.#link.everywhere(task)));
  }

  async #doTask({ name, payload }: Task): Promise<void> {
    const { backend } = this.#own.predictor;
    switch (name) {
      case workerTasks.load: {
        const request = fromBinary(RepositoryModelLoadRequestSchema, payload);
        await backend.repositoryModelLoad(request, ofAnotherWorker);
        return;
      }
      case workerTasks.unload: {
        const request = fromBinary(RepositoryModelUnloadRequestSchema, payload);
        await backend.repositoryModelUnload(request, ofAnotherWorker);
        return;
      }
      case workerTasks.trace: {
        const request = fromBinary(TraceSettingRequestSchema, payload);
        this.#own.traces.change(request.modelName, readTraceChanges(request));
        return;
      }
      case workerTasks.log: {
        const request = fromBinary(LogSettingsRequestSchema, payload);
        await backend.logSettings(request, ofAnotherWorker);
        return;
      }
      case workerTasks.registerMemory: {
        const request = fromBinary(SystemSharedMemoryRegisterRequestSchema, payload);
        await backend.systemSharedMemoryRegister(request, ofAnotherWorker);
        return;
      }
      case workerTasks.unregisterMemory: {
        const request = fromBinary(SystemSharedMemoryUnregisterRequestSchema, payload);
        await backend.systemSharedMemoryUnregister(request, ofAnotherWorker);
        return;
      }
      default:
        throw new Error(`no task is called ${name}`);
    }
  }

  async #load(): Promise<WorkerLoad> {
    const { predictor, gate } = this.#own;
    const request = create(ModelStatisticsRequestSchema);
    const { modelStats = [] } = await predictor.backend.modelStatistics(request, ofAnotherWorker);
    let calls = 0;
    let callMs = 0;
    for (const { inferenceStats } of modelStats) {
      for (const each of [inferenceStats?.success, inferenceStats?.fail]) {
        calls += Number(each?.count ?? 0n);
        callMs += Number(each?.ns ?? 0n) / 1e6;
      }
    }
    return { inFlight: gate.inFlight, calls, callMs };
  }

  async #answer({ name, payload }: Question): Promise<unknown> {
    const { predictor, registry } = this.#own;
    const { backend } = predictor;
    switch (name) {
      case workerQuestions.metrics:
        return registry.getMetricsAsJSON();
      case workerQuestions.statistics: {
        const request = fromBinary(ModelStatisticsRequestSchema, payload);
        const response = await backend.modelStatistics(request, ofAnotherWorker);
        return toBinary(
          ModelStatisticsResponseSchema,
          create(ModelStatisticsResponseSchema, response),
        );
      }
      case workerQuestions.index: {
        const request = fromBinary(RepositoryIndexRequestSchema, payload);
        const response = await backend.repositoryIndex(request, ofAnotherWorker);
        return toBinary(
          RepositoryIndexResponseSchema,
          create(RepositoryIndexResponseSchema, response),
        );
      }
      case workerQuestions.load:
        return this.#load();
      case workerQuestions.screen: {
        const request = JSON.parse(Buffer.from(payload).toString()) as ScreenRequest;
        return serveScreen(this.#start.settings.values, { ...request, rows: predictor.index() });
      }
      default:
        throw new Error(`no question is called ${name}`);
    }
  }
}
