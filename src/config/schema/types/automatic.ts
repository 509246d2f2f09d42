import { availableParallelism } from 'node:os';

/** What `auth.passwordThreads: auto` is on this machine: one core is left to the thread that streams. */
export function chooseThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}

/** The most that `workers` may be. */
export const maxWorkers = 64;

/** What `workers: auto` is on this machine. */
export function chooseWorkers(): number {
  return Math.min(maxWorkers, availableParallelism());
}
