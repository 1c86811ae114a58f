import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { RuntimeBuild } from "./execution-providers.ts";

/** What the modules of onnxruntime-node hold that are read here; the package is pinned to one version. */
interface BindingModule {
  readonly binding: {
    readonly listSupportedBackends: () => readonly { readonly name: string }[];
  };
}

/** Parts of the names of the libraries that a provider is loaded from, where it is not built in. */
const libraryParts: Readonly<Record<string, readonly string[]>> = {
  cuda: ["shared", "cuda"],
  tensorrt: ["shared", "tensorrt"],
};

let build: RuntimeBuild | undefined;

/** The build of ONNX Runtime that this process uses. */
export function runtimeBuild(): RuntimeBuild {
  build ??= readBuild();
  return build;
}

function readBuild(): RuntimeBuild {
  const require = createRequire(import.meta.url);
  const { binding } = require("onnxruntime-node/dist/binding.js") as BindingModule;
  const { version } = require("onnxruntime-node/dist/version.js") as { readonly version: string };
  const folder = join(
    dirname(require.resolve("onnxruntime-node/dist/binding.js")),
    "../bin/napi-v6",
    process.platform,
    process.arch,
  );
  const libraries = (provider: string): string[] =>
    (libraryParts[provider] ?? []).map((part) =>
      process.platform === "win32"
        ? `onnxruntime_providers_${part}.dll`
        : `libonnxruntime_providers_${part}.so`,
    );
  return {
    version,
    providers: binding.listSupportedBackends().map(({ name }) => name),
    missingLibraries: (provider) =>
      libraries(provider).filter((library) => !existsSync(join(folder, library))),
  };
}
