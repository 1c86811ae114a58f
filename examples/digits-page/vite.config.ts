import { defineConfig } from "vite";

/** The server that `vite dev` hands calls to; the built page calls the server that serves it. */
const server = process.env.TENSORWIRE_SERVER ?? "http://127.0.0.1:8080";

export default defineConfig({
  // Relative addresses, so that the page works under any path.
  base: "./",
  build: { outDir: "dist", emptyOutDir: true, target: "es2023" },
  server: { proxy: { "/inference.GRPCInferenceService": server } },
});
