import { setTimeout as wait } from 'node:timers/promises';

const pollMs = 50;
/** A change that takes longer is said to be done all the same: it is in the file. */
const maxWaitMs = 5000;
/** Processes look at the file at times of their own, each four times a second. */
const othersMs = 500;

/** Waits until a change of a file is in effect, so that the next request of the visitor finds it so, in whatever process. */
export async function untilInEffect(isInEffect: () => boolean): Promise<void> {
  const endsAtMs = performance.now() + maxWaitMs;
  while (!isInEffect() && performance.now() < endsAtMs) await wait(pollMs);
  await wait(othersMs);
}
