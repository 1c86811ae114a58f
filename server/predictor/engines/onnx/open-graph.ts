import { createHash } from "node:crypto";
import type { InferenceSession } from "onnxruntime-node";
import {
  failedReport,
  GraphCache,
  type GraphCacheOptions,
  type GraphCacheReport,
} from "./graph-cache.ts";
import { graphKey } from "./graph-key.ts";
import { type NativeSession, openNativeSession } from "./native-session.ts";
import type { SessionSettings } from "./session-settings.ts";

/** A session, and what the cache had to do with it; `undefined` if it was not asked. */
export interface OpenedGraph {
  readonly session: NativeSession;
  readonly report: GraphCacheReport | undefined;
}

/**
 * Opens a model through a cache: from the graph that was kept of it, or else from the model, of which the
 * graph is kept then. Whatever becomes of the cache, a model that opens without it opens.
 *
 * @param model - path or bytes, without weights in other files
 * @param options - of the session, as they are without a cache
 * @throws Error with the runtime's words if the model itself cannot be opened
 */
export async function openThroughCache(
  model: string | Uint8Array,
  settings: SessionSettings,
  options: InferenceSession.SessionOptions,
  cacheOptions: GraphCacheOptions,
): Promise<OpenedGraph> {
  const cache = new GraphCache(cacheOptions);
  let key: string;
  let isDamaged = false;
  try {
    await cache.open();
    const contents =
      typeof model === "string"
        ? await cache.hashOf(model)
        : createHash("sha256").update(model).digest("hex");
    key = graphKey(contents, settings);
    const found = await cache.find(key);
    isDamaged = found === "damaged";
    if (typeof found === "object") {
      try {
        // It has been optimised already.
        const session = openNativeSession(found.path, {
          ...options,
          graphOptimizationLevel: "disabled",
        });
        return { session, report: { outcome: "hit" } };
      } catch {
        // What ONNX Runtime wrote and cannot read is as good as damaged.
        await cache.drop(found.path);
        isDamaged = true;
      }
    }
  } catch (error) {
    return { session: openNativeSession(model, options), report: failedReport(error) };
  }
  const unfinished = cache.unfinishedPath();
  try {
    const session = openNativeSession(model, { ...options, optimizedModelFilePath: unfinished });
    try {
      const bytes = await cache.store(key, unfinished);
      return { session, report: { outcome: isDamaged ? "replaced" : "stored", bytes } };
    } catch (error) {
      return { session, report: failedReport(error) };
    }
  } catch (error) {
    // The model cannot be opened, or its graph could not be written: without a cache it shows which.
    return { session: openNativeSession(model, options), report: failedReport(error) };
  } finally {
    await cache.drop(unfinished);
  }
}
