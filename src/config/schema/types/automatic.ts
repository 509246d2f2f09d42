import { availableParallelism } from 'node:os';

/** The value of `auth.passwordThreads: auto` on this machine: one core is left to the thread that streams. */
export function chooseThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}

/** The largest value of `workers`. */
export const maxWorkers = 64;

/** On so few cores, where the registry needs one too, a single process serves as fast, in less than half the memory. */
const coresOfOne = 2;

/** The value of `workers: auto` on a machine with so many cores. */
export function chooseWorkers(cores = availableParallelism()): number {
  return cores <= coresOfOne ? 1 : Math.min(maxWorkers, cores);
}
