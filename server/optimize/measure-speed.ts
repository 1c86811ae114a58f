/** Turns in which each of the measured gets a part of the time. */
const turns = 15;

/**
 * Measures how long several functions take, by turns, so that whatever else the machine does falls on
 * all of them.
 *
 * @param runs - each is called at least twice before time is taken, and once a turn
 * @param budgetMs - time for all of them together; a function that takes longer gets fewer turns, at
 * least 3
 * @returns ms a call, one a function: the median of the turns
 */
export async function measureAlternately(
  runs: readonly (() => Promise<unknown>)[],
  budgetMs: number,
): Promise<number[]> {
  const single: number[] = [];
  for (const run of runs) {
    await run();
    single.push(await timeOf(run, 1));
  }
  const all = single.reduce((sum, time) => sum + time, 0);
  const rounds = Math.max(3, Math.min(turns, Math.floor(budgetMs / all)));
  const share = budgetMs / rounds / runs.length;
  const times: number[][] = runs.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, run] of runs.entries()) {
      const calls = Math.max(1, Math.floor(share / Math.max(single[index]!, 0.001)));
      times[index]!.push(await timeOf(run, calls));
    }
  }
  return times.map(median);
}

async function timeOf(run: () => Promise<unknown>, calls: number): Promise<number> {
  const started = performance.now();
  for (let call = 0; call < calls; call++) await run();
  return (performance.now() - started) / calls;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
