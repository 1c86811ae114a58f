import { join } from "node:path";
import test from "ava";
import {
  parseProvider,
  providerText,
  type RuntimeBuild,
  whyUnavailable,
} from "../../../../server/predictor/engines/onnx/execution-providers.ts";
import { OnnxSession } from "../../../../server/predictor/engines/onnx/onnx-session.ts";
import { runtimeBuild } from "../../../../server/predictor/engines/onnx/runtime-build.ts";
import {
  cpuSettings,
  ortOptions,
} from "../../../../server/predictor/engines/onnx/session-settings.ts";
import { addModel } from "../../../support/onnx-model.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const withLibraries: RuntimeBuild = {
  version: "1.2.3",
  providers: ["cpu", "cuda", "tensorrt"],
  missingLibraries: (provider) => (provider === "tensorrt" ? ["libtrt.so"] : []),
};

test("providers are named with a device, as ONNX Runtime's other interfaces do too", (t) => {
  t.deepEqual(parseProvider("cpu"), { name: "cpu", device: 0 });
  t.deepEqual(parseProvider("cuda"), { name: "cuda", device: 0 });
  t.deepEqual(parseProvider(" CUDA:3 "), { name: "cuda", device: 3 });
  t.deepEqual(parseProvider("TensorrtExecutionProvider:1"), { name: "tensorrt", device: 1 });
  for (const text of ["", "cuda:", "cuda:-1", "cuda:1000", "cpu:1", "webgpu:1", "a b", "../x"]) {
    t.is(parseProvider(text), undefined, text);
  }
  t.is(providerText({ name: "cuda", device: 3 }), "cuda:3");
  t.is(providerText({ name: "webgpu", device: 0 }), "webgpu");
});

test("what is missing is named with what there is", (t) => {
  const why = (name: string): string | undefined =>
    whyUnavailable({ name, device: 0 }, withLibraries);
  t.is(why("cpu"), undefined);
  t.is(why("cuda"), undefined);
  t.regex(why("tensorrt") ?? "", /"tensorrt" lacks libtrt\.so .*there is cpu, cuda$/);
  t.regex(why("openvino") ?? "", /"openvino" is not in this build .* 1\.2\.3; there is cpu, cuda$/);
});

test("a provider with a device is given to ONNX Runtime before the CPU", (t) => {
  const providers = [
    { name: "tensorrt", device: 2 },
    { name: "webgpu", device: 0 },
  ];
  t.deepEqual(ortOptions({ ...cpuSettings, providers }, 3).executionProviders, [
    { name: "tensorrt", deviceId: 2 },
    { name: "webgpu" },
    "cpu",
  ]);
});

test("what is said of the build is what ONNX Runtime does", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const path = join(folder, "model.onnx");
  const build = runtimeBuild();
  t.true(build.providers.includes("cpu"));
  for (const name of [...build.providers, "openvino", "xnnpack"]) {
    // WebGPU is built in and looks for a device only when it is asked.
    if (name === "webgpu") continue;
    const settings = { ...cpuSettings, providers: name === "cpu" ? [] : [{ name, device: 0 }] };
    const opened = await OnnxSession.load({ model: "m", path, intraOpThreads: 1, settings }).then(
      (session) => {
        session.release();
        return true;
      },
      () => false,
    );
    t.is(opened, whyUnavailable({ name, device: 0 }, build) === undefined, name);
  }
});
