import { setImmediate, setTimeout } from 'node:timers/promises';

export type PaceOptions = {
  /** The share of time that may be spent on working, in percent. */
  readonly pace?: number;
  readonly signal?: AbortSignal;
  /** Called at the end of each slice. */
  readonly onSlice?: () => void;
};

/** How long it works before others have their turn, in milliseconds. */
const sliceMs = 5;

/** Work in small synchronous steps. */
export type Steps<Result> = Generator<void, Result>;

/** Does work in slices, and rests between them. Several pieces of work in a row share a slice. */
export type PacedRunner = {
  run<Result>(steps: Steps<Result>): Promise<Result>;
};

export function createPacedRunner({ pace = 100, signal, onSlice }: PaceOptions): PacedRunner {
  let workedMs = 0;
  const rest = (ms: number) =>
    ms < 1 ? setImmediate(undefined, { signal }) : setTimeout(ms, undefined, { signal });
  return {
    run: async (steps) => {
      signal?.throwIfAborted();
      let resumedAt = performance.now();
      try {
        for (;;) {
          const { done, value } = steps.next();
          const sliceSoFarMs = workedMs + performance.now() - resumedAt;
          if (done) {
            workedMs = sliceSoFarMs;
            return value;
          }
          if (sliceSoFarMs < sliceMs) continue;
          await rest((sliceSoFarMs * (100 - pace)) / pace);
          onSlice?.();
          workedMs = 0;
          resumedAt = performance.now();
        }
      } finally {
        steps.return(undefined as never);
      }
    },
  };
}

export function runAtOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}
