import { readFile } from "node:fs/promises";
import type { EngineModel } from "../../server/predictor/engines/engine.ts";
import type { OnnxRequest } from "../../server/predictor/repository/load-version.ts";

/** What the file of a stub model says. */
export interface StubFile {
  /** Added to the input. */
  readonly add: number;
  /** Memory that it claims to take. */
  readonly bytes: number;
}

/** An engine of models that add a number to their input, and say themselves what memory they take. */
export interface StubEngine {
  readonly open: (request: OnnxRequest) => Promise<EngineModel>;
  /** Names of the models that were opened, in order. */
  readonly opened: string[];
  /** Memory that the open models take, and the most that it ever was. */
  readonly memory: { now: number; most: number };
  /** Holds up runs of a model until the result is called. */
  hold(model: string): () => void;
  /** Resolves when a run of a model that is held up has begun. */
  begun(model: string): Promise<void>;
}

/** File of a stub model, to stand where model.onnx does; as large as the memory that the model takes. */
export function stubFile(file: StubFile): string {
  return JSON.stringify(file).padEnd(file.bytes);
}

/** Makes an engine without models. */
export function stubEngine(): StubEngine {
  const opened: string[] = [];
  const memory = { now: 0, most: 0 };
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const begun = new Map<string, PromiseWithResolvers<void>>();
  const begunOf = (model: string): PromiseWithResolvers<void> => {
    const known = begun.get(model) ?? Promise.withResolvers<void>();
    begun.set(model, known);
    return known;
  };
  return {
    opened,
    memory,
    hold(model) {
      const gate = Promise.withResolvers<void>();
      gates.set(model, gate);
      begun.delete(model);
      return () => {
        gates.delete(model);
        gate.resolve();
      };
    },
    begun: (model) => begunOf(model).promise,
    async open({ model, path }) {
      const { add, bytes } = JSON.parse(await readFile(path, "utf8")) as StubFile;
      opened.push(model);
      memory.now += bytes;
      memory.most = Math.max(memory.most, memory.now);
      const port = { datatype: "FP32", shape: [-1], optional: false, labels: [] } as const;
      let open = true;
      const run: EngineModel["run"] = async ([input]) => {
        if (!open) throw new Error(`model ${model} was used after it was released`);
        const gate = gates.get(model);
        if (gate) {
          begunOf(model).resolve();
          await gate.promise;
        }
        if (!open) throw new Error(`model ${model} was released under a call`);
        const { shape, bytes: contents } = input!;
        const values = new Float32Array(new Uint8Array(contents!).buffer).map((x) => x + add);
        const answer = new Uint8Array(values.buffer);
        return {
          outputs: [{ name: "y", datatype: "FP32", shape, bytes: answer }],
          inferNs: 1,
        };
      };
      return {
        inputs: [{ name: "x", ...port }],
        outputs: [{ name: "y", ...port }],
        instances: 1,
        isDeterministic: true,
        memoryBytes: bytes,
        placement: "stub",
        warmUp: async (samples) => {
          const gate = gates.get(model);
          gates.delete(model);
          const { outputs } = await run(samples[0]!, ["y"]);
          if (gate) gates.set(model, gate);
          return outputs;
        },
        run,
        runNow: () => undefined,
        async release() {
          open = false;
          memory.now -= bytes;
        },
      };
    },
  };
}
