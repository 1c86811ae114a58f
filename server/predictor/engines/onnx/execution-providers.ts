/** A part of ONNX Runtime that runs nodes on some hardware. */
export interface ExecutionProvider {
  /** As onnxruntime-node calls it: `cuda`. */
  readonly name: string;
  /** Which of the devices, from 0. */
  readonly device: number;
}

/** What the onnxruntime-node that is installed can do. */
export interface RuntimeBuild {
  readonly version: string;
  /** Providers that it was built with; some need libraries beside it. */
  readonly providers: readonly string[];
  /** Libraries of a provider that are not there. */
  readonly missingLibraries: (provider: string) => readonly string[];
}

/** Names that ONNX Runtime's other interfaces have for them. */
const longNames: ReadonlyMap<string, string> = new Map([
  ["cpuexecutionprovider", "cpu"],
  ["cudaexecutionprovider", "cuda"],
  ["tensorrtexecutionprovider", "tensorrt"],
  ["webgpuexecutionprovider", "webgpu"],
  ["dmlexecutionprovider", "dml"],
  ["coremlexecutionprovider", "coreml"],
  ["openvinoexecutionprovider", "openvino"],
]);

/** Devices are counted from 0; more than this is a slip of the finger. */
export const mostDevice = 255;

/**
 * Reads `cpu`, `cuda`, `cuda:1` or a long name such as `CUDAExecutionProvider`; the device is 0 where none
 * is named. `undefined` if the text is no provider.
 */
export function parseProvider(text: string): ExecutionProvider | undefined {
  const [, word, number] = /^([a-z][a-z0-9_]*)(?::(\d{1,3}))?$/i.exec(text.trim()) ?? [];
  if (word === undefined) return undefined;
  const lower = word.toLowerCase();
  const name = longNames.get(lower) ?? lower;
  const device = Number(number ?? 0);
  if (device > mostDevice || (number !== undefined && !hasDevices(name))) return undefined;
  return { name, device };
}

/** Whether onnxruntime-node tells devices of a provider apart. */
export function hasDevices(name: string): boolean {
  return name === "cuda" || name === "tensorrt" || name === "dml";
}

/** `cuda:1`, or `webgpu`, of which there is one. */
export function providerText({ name, device }: ExecutionProvider): string {
  return hasDevices(name) ? `${name}:${device}` : name;
}

/**
 * Says why a provider cannot be used: what is missing, what there is, and what to do; `undefined` if
 * nothing is known to stand in its way.
 */
export function whyUnavailable(
  { name }: ExecutionProvider,
  { version, providers, missingLibraries }: RuntimeBuild,
): string | undefined {
  if (name === "cpu") return undefined;
  const usable = providers.filter((provider) => missingLibraries(provider).length === 0);
  const present = `there is ${usable.join(", ")}`;
  if (!providers.includes(name)) {
    return `execution provider "${name}" is not in this build of onnxruntime-node ${version}; ${present}`;
  }
  const missing = missingLibraries(name);
  if (missing.length === 0) return undefined;
  return `execution provider "${name}" lacks ${missing.join(" and ")} beside onnxruntime-node ${version}, which its install script fetches with ONNXRUNTIME_NODE_INSTALL=cuda12; ${present}`;
}
