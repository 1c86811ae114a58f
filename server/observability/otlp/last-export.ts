/** Time that the last export has, in ms: an end must not wait for a collector that is gone. */
const lastExportMs = 5_000;

/** Waits for the last export, but no longer than 5 s. */
export async function lastExport(action: () => Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, lastExportMs);
  try {
    await Promise.race([action(), promise]);
  } finally {
    clearTimeout(timer);
  }
}
