import type { PortableError } from "../../../errors/portable-error.ts";
import type { PackedTensor } from "../../../tensor/packed-tensor.ts";
import type { OpenMeasurements } from "../memory-growth.ts";
import type { GraphCacheReport } from "./graph-cache.ts";
import type { GraphPort } from "./graph-plan.ts";
import type { OnnxSessionOptions } from "./onnx-session.ts";

/** What the main thread asks of a worker; every request gets one answer with its `id`. */
export type WorkerRequest =
  | {
      readonly kind: "load";
      readonly id: number;
      readonly session: number;
      readonly options: OnnxSessionOptions;
      readonly measurements: OpenMeasurements;
    }
  | {
      readonly kind: "run";
      readonly id: number;
      readonly session: number;
      readonly inputs: readonly PackedTensor[];
      readonly outputNames: readonly string[];
    }
  | { readonly kind: "release"; readonly id: number; readonly session: number }
  /** Ends the thread at once; has no answer. */
  | { readonly kind: "end" };

/** What a worker answers. */
export type WorkerAnswer =
  | {
      readonly kind: "loaded";
      readonly id: number;
      readonly inputs: readonly GraphPort[];
      readonly outputs: readonly GraphPort[];
      readonly timeFollowsSize: boolean;
      readonly isDeterministic: boolean;
      readonly memoryBytes: number;
      readonly graphCache: GraphCacheReport | undefined;
    }
  | {
      readonly kind: "ran";
      readonly id: number;
      readonly outputs: readonly PackedTensor[];
      readonly inferNs: number;
    }
  | { readonly kind: "released"; readonly id: number }
  | { readonly kind: "failed"; readonly id: number; readonly error: PortableError };
