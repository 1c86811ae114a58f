import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";

/**
 * Counts the contents of tensors against the heap's limit, not against a small one of their own. By
 * default V8 collects the whole heap for each 32 MB and more of buffers that come and go, which with
 * tensors of 600 KB is some twenty times a second, a third of the time on one core (docs/benchmarks.md).
 * Imported before anything else.
 */
setFlagsFromString("--external-memory-accounted-in-global-limit");

/**
 * On one core a thread that marks beside the program takes its time from it. Marking in steps between
 * the calls more than doubles the rate of calls with 600 KB there (docs/wire.md).
 */
if (availableParallelism() === 1) setFlagsFromString("--no-concurrent-marking");

/**
 * V8 moves objects of a kind that survived before to the old generation from the start. Of the objects of
 * a call none should survive, but some do while a burst is under way, and from then on a tenth of all
 * garbage outlives its call: collections took 15 ms in place of 1.2, and the heap 280 MB in place of 60
 * (docs/wire.md).
 */
setFlagsFromString("--no-allocation-site-pretenuring");

/**
 * V8 collects the whole heap when it has grown by a share of what the last collection left, as little as a
 * third. Left are some 30 MB, and a message of 600 KB is read in as many bytes of buffers that are gone with
 * the call, so it marked everything each 200 calls. At 2.5 times of what was left it marks a third as often
 * (docs/wire.md).
 */
setFlagsFromString("--heap-growing-percent=150");
