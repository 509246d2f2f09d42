import type { Measured } from '../trial.ts';

/** How long clients waited for what they saw. */
export type AnswerTimes = {
  /** @param mayWait whether upstream's silence explains a wait */
  add(seen: string, ms: number, mayWait: boolean): void;
};

/** Below so many one slow moment of the machine decides. */
const fewest = 5;

/**
 * Returns the trial's cases with what clients saw and when.
 * @param longestMs what half of each kind of answers must come faster than, where nothing explains a wait: a busy machine makes some slow, a limit of time all
 * @throws Error where it did not
 */
export async function measureAnswers(
  name: string,
  longestMs: number,
  run: (times: AnswerTimes) => Promise<number>,
): Promise<Measured> {
  const waits = new Map<string, { readonly mayWait: boolean; readonly all: number[] }>();
  const cases = await run({
    add: (seen, ms, mayWait) => {
      const key = mayWait ? `${seen} after a silence` : seen;
      const wait = waits.get(key) ?? { mayWait, all: [] };
      wait.all.push(ms);
      waits.set(key, wait);
    },
  });
  const shown = [...waits].map(([seen, { mayWait, all }]) => {
    const sorted = all.sort((one, other) => one - other);
    const [median = 0, slowest = 0] = [sorted[sorted.length >> 1], sorted.at(-1)];
    if (!mayWait && all.length >= fewest && median > longestMs)
      throw new Error(`${name}: half of ${all.length} clients waited ${Math.round(median)} ms for ${seen}`);
    return `${seen} ${all.length} times (half within ${Math.ceil(median)} ms, all within ${Math.ceil(slowest)} ms)`;
  });
  return { cases, figure: `${name}; clients saw ${shown.join(', ')}.` };
}
