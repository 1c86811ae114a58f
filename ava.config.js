export default {
  files: ["test/**/*.test.ts", "!test/interop/**", "!test/conformance/**"],
  extensions: ["ts"],
  workerThreads: false,
  timeout: "2m",
};
