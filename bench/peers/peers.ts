import { bare } from "./bare.ts";
import { kserve } from "./kserve.ts";
import { mlserver } from "./mlserver.ts";
import { ours } from "./ours.ts";
import type { Peer } from "./peer.ts";
import { triton } from "./triton.ts";

/** Every peer, ours first: the others are compared with it. */
export function peers(ourFlags: readonly string[]): readonly Peer[] {
  return [ours(ourFlags), kserve, mlserver, triton, bare];
}
