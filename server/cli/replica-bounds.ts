import { TensorwireError } from "../errors/tensorwire-error.ts";

/** How many replicas there may be. */
export interface ReplicaBounds {
  readonly least: number;
  readonly most: number;
}

const maxReplicas = 256;

/** Bounds of `--replica-window`, in ms. */
export const replicaWindow = { least: 6_000, most: 3_600_000 } as const;

/**
 * Reads `--replicas LEAST..MOST`; `undefined` without it.
 *
 * @throws TensorwireError `SETTING_INVALID`
 */
export function parseReplicas(text: string | undefined): ReplicaBounds | undefined {
  if (text === undefined) return undefined;
  const found = /^(\d{1,3})\.\.(\d{1,3})$/.exec(text);
  const [least, most] = [Number(found?.[1]), Number(found?.[2])];
  if (found && least <= most && most >= 1 && most <= maxReplicas) return { least, most };
  throw new TensorwireError(
    "SETTING_INVALID",
    `--replicas: got ${text}, expected LEAST..MOST such as 0..4, at most ${maxReplicas}`,
    {},
  );
}
