import type { InferenceSession } from "onnxruntime-node";
import { type ExecutionProvider, hasDevices } from "./execution-providers.ts";

/** What ONNX Runtime changes in a graph before it runs it, each level with those before it. */
export const graphLevels = ["disabled", "basic", "extended", "layout", "all"] as const;
export type GraphLevel = (typeof graphLevels)[number];

/** How ONNX Runtime runs a session, save for the threads of an operator. */
export interface SessionSettings {
  /** In the order in which they choose their nodes; the CPU takes what is left. */
  readonly providers: readonly ExecutionProvider[];
  readonly graphLevel: GraphLevel;
  /** Whether nodes that do not need each other run at once, on `interOpThreads` threads. */
  readonly executionMode: "sequential" | "parallel";
  readonly interOpThreads: number;
  /** Whether freed tensors stay with the session for the next run. */
  readonly memoryArena: boolean;
  /** Whether a run's tensors are laid out from those of the last run with the same shapes. */
  readonly memoryPattern: boolean;
  /** Whether weights are allocated outside the arena. */
  readonly deviceInitializers: boolean;
}

/** ONNX Runtime's defaults, on the CPU. */
export const cpuSettings: SessionSettings = {
  providers: [],
  graphLevel: "all",
  executionMode: "sequential",
  interOpThreads: 1,
  memoryArena: true,
  memoryPattern: true,
  deviceInitializers: false,
};

/** Settings as onnxruntime-node takes them. */
export function ortOptions(
  settings: SessionSettings,
  intraOpThreads: number,
): InferenceSession.SessionOptions {
  return {
    intraOpNumThreads: intraOpThreads,
    interOpNumThreads: settings.interOpThreads,
    executionMode: settings.executionMode,
    executionProviders: [
      ...settings.providers.map(({ name, device }) =>
        hasDevices(name) ? { name, deviceId: device } : { name },
      ),
      "cpu",
    ],
    graphOptimizationLevel: settings.graphLevel,
    enableCpuMemArena: settings.memoryArena,
    enableMemPattern: settings.memoryPattern,
    // What fails is answered to the caller and logged by us; the runtime would print it again.
    logSeverityLevel: 4,
    extra: {
      session: {
        // Spinning threads would take the cores from the event loop between calls.
        intra_op: { allow_spinning: "0" },
        inter_op: { allow_spinning: "0" },
        ...(settings.deviceInitializers ? { use_device_allocator_for_initializers: "1" } : {}),
      },
    },
  };
}
