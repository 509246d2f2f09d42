import { availableParallelism } from 'node:os';

/** The value of `auth.passwordThreads: auto` on this machine: one core is left to the thread that streams. */
export function chooseThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}

/** The largest value of `workers`. */
export const maxWorkers = 64;

/** The value of `workers: auto` on this machine. */
export function chooseWorkers(): number {
  return Math.min(maxWorkers, availableParallelism());
}
