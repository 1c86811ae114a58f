export default {
  files: ["test/interop/**/*.test.ts"],
  extensions: ["ts"],
  workerThreads: false,
  concurrency: 1,
  timeout: "5m",
};
