import { setTimeout as wait } from 'node:timers/promises';

/** Resolves after so many milliseconds, or when the run is to stop. */
export async function rest(ms: number, stop: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal: stop }).catch(() => {});
}
