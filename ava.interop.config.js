export default {
  files: ["test/interop/**/*.test.ts", "test/conformance/**/*.test.ts"],
  extensions: ["ts"],
  workerThreads: false,
  concurrency: 1,
  timeout: "5m",
};
