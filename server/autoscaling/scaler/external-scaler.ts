import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { Counter, Gauge, type Registry } from "prom-client";
import {
  ExternalScaler,
  type ScaledObjectRef,
} from "../../../gen/externalscaler/externalscaler_pb.ts";
import { metricUnknown, scalerFull } from "../../errors/autoscaling-errors.ts";
import type { Log } from "../../observability/log.ts";
import { askPrometheus } from "./ask-prometheus.ts";
import { Gatherer } from "./gather.ts";
import { type ResolveOptions, resolveEndpoints } from "./resolve-endpoints.ts";
import { parseTrigger, type Trigger } from "./trigger.ts";
import { type Reading, WatchedTrigger } from "./watched-trigger.ts";

const maxTriggers = 1000;
const maxStreams = 1000;
/** Time after which a trigger that nobody asks for is followed no more, in ms. */
const forgottenAfterMs = 600_000;

/** Settings of a {@link createExternalScaler}. */
export interface ExternalScalerOptions extends ResolveOptions {
  /** Address of a Prometheus server for triggers with an expression. */
  readonly prometheus: string | undefined;
  /** Time between two looks at a source, in ms. */
  readonly intervalMs: number;
  readonly registry: Registry;
  readonly log: Log;
}

/** A trigger of a ScaledObject. */
interface Followed {
  readonly ref: ScaledObjectRef;
  readonly watched: WatchedTrigger;
}

/** A scaler that KEDA asks. */
export interface ExternalScalerServer {
  /** Adds the service. */
  register(router: ConnectRouter): void;
  /** Ends what it does by itself. */
  close(): void;
}

/** Makes a scaler that looks at the sources of the triggers that KEDA asks for, and answers from what it saw. */
export function createExternalScaler(options: ExternalScalerOptions): ExternalScalerServer {
  return new Scaler(options);
}

class Scaler implements ExternalScalerServer {
  readonly #options: ExternalScalerOptions;
  /** By ScaledObject and metadata. */
  readonly #watched = new Map<string, Followed>();
  readonly #values: Gauge<"namespace" | "scaled_object" | "metric">;
  readonly #active: Gauge<"namespace" | "scaled_object" | "metric">;
  readonly #failures: Counter<"namespace" | "scaled_object">;
  readonly #timer: NodeJS.Timeout;
  readonly #closed = new AbortController();
  #streams = 0;

  constructor(options: ExternalScalerOptions) {
    this.#options = options;
    const { registry, intervalMs } = options;
    const labelNames = ["namespace", "scaled_object", "metric"] as const;
    const registers = [registry];
    this.#values = new Gauge({
      name: "tensorwire_scaler_value",
      help: "Value of a trigger over its window, for all pods together",
      labelNames,
      registers,
    });
    this.#active = new Gauge({
      name: "tensorwire_scaler_active",
      help: "Whether a trigger is above its activation target",
      labelNames,
      registers,
    });
    this.#failures = new Counter({
      name: "tensorwire_scaler_failures_total",
      help: "Looks at the source of a trigger that failed",
      labelNames: ["namespace", "scaled_object"],
      registers,
    });
    const watched = this.#watched;
    new Gauge({
      name: "tensorwire_scaler_triggers",
      help: `Triggers that are followed; at most ${maxTriggers}`,
      registers,
      collect() {
        this.set(watched.size);
      },
    });
    this.#timer = setInterval(() => this.#look(), intervalMs);
    this.#timer.unref();
  }

  register(router: ConnectRouter): void {
    router.service(ExternalScaler, {
      isActive: async (ref) => ({ result: await this.#isActive(ref, this.#watch(ref)) }),
      streamIsActive: (ref, context) => this.#streamIsActive(ref, context),
      getMetricSpec: (ref) => {
        const { metricName, target } = this.#watch(ref).trigger;
        const metricSpecs = [{ metricName, targetSize: integer(target), targetSizeFloat: target }];
        return { metricSpecs };
      },
      getMetrics: async ({ scaledObjectRef, metricName }) => {
        if (!scaledObjectRef) throw metricUnknown(metricName, "one of a ScaledObject");
        const watched = this.#watch(scaledObjectRef);
        const expected = watched.trigger.metricName;
        if (metricName !== "" && metricName !== expected) throw metricUnknown(metricName, expected);
        const value = await watched.value();
        this.#tell(scaledObjectRef, watched.trigger, value);
        return {
          metricValues: [
            { metricName: expected, metricValue: integer(value), metricValueFloat: value },
          ],
        };
      },
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closed.abort();
  }

  async #isActive(ref: ScaledObjectRef, watched: WatchedTrigger): Promise<boolean> {
    const value = await watched.value();
    this.#tell(ref, watched.trigger, value);
    return value > watched.trigger.activation;
  }

  async *#streamIsActive(
    ref: ScaledObjectRef,
    context: HandlerContext,
  ): AsyncGenerator<{ result: boolean }> {
    if (this.#streams >= maxStreams) throw scalerFull("streams", maxStreams);
    const watched = this.#watch(ref);
    const signal = AbortSignal.any([context.signal, this.#closed.signal]);
    let told: boolean | undefined;
    this.#streams++;
    try {
      while (!signal.aborted) {
        const result = await this.#isActive(ref, watched);
        if (result !== told) yield { result };
        told = result;
        await watched.changed(signal);
      }
    } finally {
      this.#streams--;
    }
  }

  /** The trigger of a call, which is followed from then on. */
  #watch(ref: ScaledObjectRef): WatchedTrigger {
    const { namespace, name, scalerMetadata } = ref;
    const key = JSON.stringify([namespace, name, Object.entries(scalerMetadata).sort()]);
    const known = this.#watched.get(key);
    if (known) return known.watched;
    const trigger = parseTrigger(scalerMetadata);
    if (this.#watched.size >= maxTriggers) throw scalerFull("triggers", maxTriggers);
    const watched = new WatchedTrigger({
      trigger,
      ask: this.#asker(trigger),
      now: () => performance.now(),
      onReading: (reading, why) => {
        const { log } = this.#options;
        const fields = { namespace, scaledObject: name, metric: trigger.metricName };
        if (why === undefined) log.debug({ ...fields, ...reading }, "looked at a trigger's source");
        else {
          this.#failures.inc({ namespace, scaled_object: name });
          log.warn({ ...fields, why }, "the source of a trigger gives nothing");
        }
      },
    });
    this.#watched.set(key, { ref, watched });
    return watched;
  }

  #asker(trigger: Trigger): (seconds: number) => Promise<Reading> {
    const { source } = trigger;
    if (source.kind === "prometheus") {
      return async () => {
        const { prometheus } = this.#options;
        if (prometheus === undefined) {
          throw new Error("the scaler has no Prometheus to ask; start it with --prometheus-url");
        }
        return { value: await askPrometheus(prometheus, source.query), asked: 1, answered: 1 };
      };
    }
    const gatherer = new Gatherer(source);
    return async (seconds) =>
      gatherer.gather(await resolveEndpoints(source.endpoints, this.#options), seconds);
  }

  #look(): void {
    const oldest = performance.now() - forgottenAfterMs;
    for (const [key, { ref, watched }] of this.#watched) {
      if (watched.wantedAt >= oldest) void watched.refresh();
      else {
        this.#watched.delete(key);
        const labels = labelsOf(ref, watched.trigger);
        this.#values.remove(labels);
        this.#active.remove(labels);
        this.#failures.remove({ namespace: labels.namespace, scaled_object: labels.scaled_object });
      }
    }
  }

  #tell(ref: ScaledObjectRef, trigger: Trigger, value: number): void {
    const labels = labelsOf(ref, trigger);
    const active = value > trigger.activation ? 1 : 0;
    this.#values.set(labels, value);
    this.#active.set(labels, active);
    const { target, activation } = trigger;
    this.#options.log.debug(
      { ...labels, value, target, activation, active, podsWanted: Math.ceil(value / target) },
      "told KEDA a value",
    );
  }
}

function labelsOf({ namespace, name }: ScaledObjectRef, { metricName }: Trigger) {
  return { namespace, scaled_object: name, metric: metricName } as const;
}

/** The nearest integer, for a version of KEDA that reads no fractions. */
function integer(value: number): bigint {
  return BigInt(Math.min(Math.max(Math.round(value), 0), Number.MAX_SAFE_INTEGER));
}
