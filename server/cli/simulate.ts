import { readFile, writeFile } from "node:fs/promises";
import { hpaDefaults } from "../autoscaling/hpa/hpa-settings.ts";
import { kedaDefaults } from "../autoscaling/keda/keda-decider.ts";
import { type KpaSettings, kpaDefaults } from "../autoscaling/kpa/kpa-settings.ts";
import { simulationChart } from "../autoscaling/simulation/chart.ts";
import { type LoadCurve, parseLoad, parseTrace } from "../autoscaling/simulation/load-curve.ts";
import { simulate } from "../autoscaling/simulation/simulate.ts";
import {
  fixedScaler,
  hpaScaler,
  kedaScaler,
  kpaScaler,
  type SimulatedScaler,
} from "../autoscaling/simulation/simulated-scaler.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import type { SettingValues } from "../config/setting.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { simulateSettings } from "../config/simulate-settings.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import { createRandom } from "../random/random.ts";
import type { Command } from "./command.ts";
import type { Program } from "./program.ts";
import { simulationJson, simulationText } from "./simulation-report.ts";

/** `tensorwire simulate`. */
export const simulateCommand: Command = {
  name: "simulate",
  summary: "try settings of an autoscaler on a load, before a release",
  usage: "",
  description: [
    "Runs a described load or a trace through simulated pods and an autoscaler that decides as Knative's KPA, Kubernetes' HPA or KEDA does, and shows pods, requests, queue and latency over time.",
    "Requests come by chance at the load's rate, go to the ready pod that has the fewest, and wait in one line while none has room. The same seed brings the same requests to every autoscaler.",
  ],
  examples: [
    [
      "tensorwire simulate --load 0..200:2m,200:10m,0:5m --container-concurrency 4 --svg scale.svg",
      "a ramp, a plateau and an end, through the KPA",
    ],
    [
      "tensorwire simulate --load 20:5m,400:30s,20:5m --scaler kpa,hpa,keda --pod-start-time 30s",
      "a spike, through three autoscalers",
    ],
    ["tensorwire simulate --trace requests.csv --json", "a trace of your own, for programs"],
  ],
  settings: simulateSettings,
  run: simulateLoad,
};

type SimulateValues = SettingValues<typeof simulateSettings>;

async function simulateLoad(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile: readSettings, stdout } = program;
  const { values, positionals } = resolveSettings(simulateSettings, {
    argv,
    env,
    readFile: readSettings,
    foreign: allFlags,
  });
  if (positionals.length > 0) throw invalid(`got argument ${positionals[0]}, expected none`);
  const load = await readLoad(values);
  const names = values.scaler.length > 0 ? values.scaler : ["kpa"];
  const makers = names.map((name) => makerOf(name));
  const results = makers.map((make) =>
    simulate({
      load,
      scaler: make(values),
      pods: {
        startMs: values["pod-start-time"],
        serviceMs: values["service-time"],
        distribution: values["service-distribution"],
        parallelism: values.parallelism,
        concurrency: values["container-concurrency"],
      },
      maxWaiting: values["max-waiting"],
      timeoutMs: values["request-timeout"],
      arrivals: createRandom(BigInt(values.seed)),
      services: createRandom(BigInt(~values.seed)),
    }),
  );
  if (values.svg !== undefined) {
    const title = `${names.join(", ")}: ${values.load ?? values.trace}`;
    try {
      await writeFile(values.svg, simulationChart(title, results));
    } catch (error) {
      throw invalid(`--svg: ${values.svg} cannot be written: ${messageOf(error)}`);
    }
  }
  stdout.write(
    values.json ? `${simulationJson(results)}\n` : simulationText(results, values.rows, values.svg),
  );
  return exitCodes.ok;
}

async function readLoad({ load, trace }: SimulateValues): Promise<LoadCurve> {
  if ((load === undefined) === (trace === undefined)) {
    throw invalid(
      "expected either --load PHASES, such as --load 0..200:2m,200:10m, or --trace FILE",
    );
  }
  if (load !== undefined) return parseLoad(load);
  let text: string;
  try {
    text = await readFile(trace!, "utf8");
  } catch (error) {
    throw invalid(`--trace: ${trace} cannot be read: ${messageOf(error)}`);
  }
  return parseTrace(text);
}

const makers: Readonly<Record<string, (values: SimulateValues) => SimulatedScaler>> = {
  kpa: (values) => kpaScaler(kpaSettings(values)),
  hpa: (values) =>
    hpaScaler({
      ...hpaDefaults,
      metric: {
        kind: values["hpa-metric"] === "utilization" ? "utilization" : "average-value",
        target: values["hpa-target"],
      },
      minReplicas: Math.max(1, values["min-scale"]),
      maxReplicas: values["max-scale"],
    }),
  keda: (values) =>
    kedaScaler({
      ...kedaDefaults,
      target: values["keda-target"],
      activationThreshold: values["activation-threshold"],
      pollingIntervalMs: values["polling-interval"],
      cooldownMs: values["cooldown-period"],
      minReplicas: values["min-scale"],
      maxReplicas: values["max-scale"],
    }),
  fixed: (values) => fixedScaler(values["max-scale"]),
};

function makerOf(name: string): (values: SimulateValues) => SimulatedScaler {
  const maker = Object.hasOwn(makers, name) ? makers[name] : undefined;
  if (maker) return maker;
  throw invalid(`--scaler: got ${name}, expected one or more of ${Object.keys(makers).join(", ")}`);
}

function kpaSettings(values: SimulateValues): KpaSettings {
  const target = values.target === undefined ? undefined : Number(values.target);
  if (target !== undefined && !(target >= 0.01 && Number.isFinite(target))) {
    throw invalid(`--target: got ${values.target}, expected a number from 0.01 on`);
  }
  return {
    ...kpaDefaults,
    metric: values.metric,
    containerConcurrency: values["container-concurrency"],
    target,
    targetUtilizationPercentage: values["target-utilization-percentage"],
    stableWindowMs: values["stable-window"],
    panicWindowPercentage: values["panic-window-percentage"],
    panicThresholdPercentage: values["panic-threshold-percentage"],
    maxScaleUpRate: values["max-scale-up-rate"],
    maxScaleDownRate: values["max-scale-down-rate"],
    scaleDownDelayMs: values["scale-down-delay"],
    windowAverage: values["window-average"],
    minScale: values["min-scale"],
    maxScale: values["max-scale"],
    initialScale: values["initial-scale"],
    activationScale: values["activation-scale"],
    scaleToZeroGraceMs: values["scale-to-zero-grace"],
    scaleToZeroRetentionMs: values["scale-to-zero-retention"],
  };
}

function invalid(message: string): TensorwireError {
  return new TensorwireError("SETTING_INVALID", message, {});
}
