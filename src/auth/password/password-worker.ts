import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { verifyPassword } from './password-hash.ts';

/** The request to a worker thread. */
export type PasswordRequest = { readonly password: string; readonly hash: string };
/** The answer of a worker thread; `failure` when the check could not be made. */
export type PasswordReply = { readonly matches: boolean } | { readonly failure: string };

/** Ten steps of nice(2): about a tenth of the CPU time of a thread with normal priority. */
const priority = 10;

lowerPriority();
parentPort?.on('message', ({ password, hash }: PasswordRequest) => {
  parentPort?.postMessage(check(password, hash));
});

function check(password: string, hash: string): PasswordReply {
  try {
    return { matches: verifyPassword(password, hash) };
  } catch (error) {
    return { failure: String(error) };
  }
}

/** Gives streaming precedence, even with fewer cores than threads. On Linux each thread has its own priority. */
function lowerPriority(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), priority);
  } catch {
    // elsewhere, or without /proc: they share the cores as equals
  }
}
