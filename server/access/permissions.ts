/**
 * What a caller may be allowed to do. None of them contains another.
 *
 * - `infer`: call models.
 * - `read`: metadata, configuration, readiness, statistics, index, settings of trace and log, reflection.
 * - `control`: load and unload models, set trace and log, register shared memory.
 */
export type Permission = "infer" | "read" | "control";

/** Every permission, in the order in which they are listed. */
export const permissions: readonly Permission[] = ["infer", "read", "control"];

/** Whether a text names a permission. */
export function isPermission(text: string): text is Permission {
  return (permissions as readonly string[]).includes(text);
}
