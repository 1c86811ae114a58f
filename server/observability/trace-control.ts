import { parameterInvalid } from "../errors/request-errors.ts";
import { TraceFileSink } from "./trace-file-sink.ts";
import type { TraceFolder } from "./trace-folder.ts";
import { TraceSampler } from "./trace-sampler.ts";
import {
  changeOverrides,
  isTracing,
  type TraceChanges,
  type TraceOverrides,
  type TraceSettings,
  traceSettingsAtStart,
} from "./trace-settings.ts";

/** Where a model looks for each call whether it may be traced. */
export interface ModelTraces {
  /** `undefined` while calls are not traced: then a call costs this one look. */
  sampler: TraceSampler | undefined;
}

/** A name without a path, which no system reads as something else. */
const fileName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Holds which calls are traced: settings of the server, and of models, which follow the server's in what
 * is not set for them.
 */
export class TraceControl {
  readonly #folder: TraceFolder | undefined;
  #server: { overrides: TraceOverrides; sampler: TraceSampler | undefined } = {
    overrides: {},
    sampler: undefined,
  };
  /** Models with settings of their own. */
  readonly #models = new Map<
    string,
    { readonly overrides: TraceOverrides; readonly sampler: TraceSampler | undefined }
  >();
  readonly #traces = new Map<string, ModelTraces>();

  /** @param folder - `undefined` if no file may be written */
  constructor(folder: TraceFolder | undefined) {
    this.#folder = folder;
  }

  /** Where a model looks; the same for the same name. */
  of(model: string): ModelTraces {
    let traces = this.#traces.get(model);
    if (!traces) {
      traces = { sampler: (this.#models.get(model) ?? this.#server).sampler };
      this.#traces.set(model, traces);
    }
    return traces;
  }

  /** Settings that hold for a model, or for the server if the name is empty. */
  settingsOf(model: string): TraceSettings {
    const { overrides, sampler } = this.#models.get(model) ?? this.#server;
    const settings = this.#resolve(model === "" ? undefined : model, overrides);
    return sampler ? { ...settings, count: sampler.remaining } : settings;
  }

  /**
   * Checks changes, which {@link change} would take as they are.
   *
   * @throws TensorwireError `PARAMETER_INVALID`
   */
  check(model: string, changes: TraceChanges): void {
    const { file } = changes;
    if (file !== undefined && file !== null && file !== "") {
      if (!this.#folder) {
        throw parameterInvalid(
          "trace_file",
          `"${file}"`,
          "none, for this server has no folder for traces; start it with --trace-dir",
        );
      }
      if (!fileName.test(file)) {
        throw parameterInvalid(
          "trace_file",
          JSON.stringify(file),
          "the name of a file in the folder of --trace-dir: letters, digits, . _ and -, no path",
        );
      }
    }
    const { overrides } = this.#models.get(model) ?? { overrides: {} };
    const before = model === "" ? this.#server.overrides : overrides;
    const settings = this.#resolve(
      model === "" ? undefined : model,
      changeOverrides(before, changes),
    );
    if (settings.level !== "OFF" && settings.file === "") {
      throw parameterInvalid(
        "trace_level",
        settings.level,
        "OFF while no trace_file is set, which says where traces go",
      );
    }
  }

  /** Changes settings of a model, or of the server if the name is empty. */
  change(model: string, changes: TraceChanges): void {
    if (model === "") {
      const overrides = this.#changed(this.#server, changes);
      this.#server = {
        overrides,
        sampler: this.#sampler(undefined, overrides, this.#server.sampler),
      };
      for (const [name, { overrides, sampler }] of this.#models) {
        const kept = keepCount(overrides, sampler);
        this.#models.set(name, { overrides: kept, sampler: this.#sampler(name, kept, sampler) });
      }
    } else {
      const before = this.#models.get(model) ?? { overrides: {}, sampler: undefined };
      const overrides = this.#changed(before, changes);
      const sampler = this.#sampler(model, overrides, before.sampler);
      if (Object.keys(overrides).length > 0) this.#models.set(model, { overrides, sampler });
      else {
        sampler?.retire();
        this.#models.delete(model);
      }
    }
    for (const [name, traces] of this.#traces)
      traces.sampler = (this.#models.get(name) ?? this.#server).sampler;
  }

  /** Traces no more, and writes what is held back. */
  async close(): Promise<void> {
    for (const traces of this.#traces.values()) traces.sampler = undefined;
    for (const { sampler } of [this.#server, ...this.#models.values()]) sampler?.retire();
    await this.#folder?.idle();
  }

  #changed(
    before: { readonly overrides: TraceOverrides; readonly sampler: TraceSampler | undefined },
    changes: TraceChanges,
  ): TraceOverrides {
    return changeOverrides(keepCount(before.overrides, before.sampler), changes);
  }

  #resolve(model: string | undefined, overrides: TraceOverrides): TraceSettings {
    const below =
      model === undefined
        ? traceSettingsAtStart
        : { ...traceSettingsAtStart, ...this.#server.overrides };
    return { ...below, ...overrides };
  }

  /** The sampler of settings; the one before, if they are the same. */
  #sampler(
    model: string | undefined,
    overrides: TraceOverrides,
    before: TraceSampler | undefined,
  ): TraceSampler | undefined {
    const settings = this.#resolve(model, overrides);
    if (before && isSame({ ...before.settings, count: before.remaining }, settings)) return before;
    before?.retire();
    if (!this.#folder || !isTracing(settings)) return undefined;
    return new TraceSampler(
      settings,
      new TraceFileSink(this.#folder, settings.file, settings.logFrequency),
    );
  }
}

/** A count that was set goes on where it is, whatever else changes. */
function keepCount(overrides: TraceOverrides, sampler: TraceSampler | undefined): TraceOverrides {
  return overrides.count === undefined || !sampler
    ? overrides
    : { ...overrides, count: sampler.remaining };
}

function isSame(a: TraceSettings, b: TraceSettings): boolean {
  return (Object.keys(a) as (keyof TraceSettings)[]).every((key) => a[key] === b[key]);
}
