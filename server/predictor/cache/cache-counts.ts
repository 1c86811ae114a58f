import { Duration } from "../duration.ts";

/** How a model's calls fared in the cache. */
export class CacheCounts {
  /** Calls that found an answer, or a run under way for an equal call; the time to look it up. */
  readonly hit: Duration = new Duration();
  /** Calls that had to run; the time to look up, and to keep what came out. */
  readonly miss: Duration = new Duration();
}
