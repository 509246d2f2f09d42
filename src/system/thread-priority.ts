import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Ten steps of nice(2): about a tenth of the CPU time of a thread with normal priority. */
const priority = 10;

/** Gives streaming precedence, even with fewer cores than threads. On Linux each thread has its own priority. */
export function lowerThreadPriority(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), priority);
  } catch {
    // elsewhere, or without /proc: they share the cores as equals
  }
}
