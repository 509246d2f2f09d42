import { parentPort } from 'node:worker_threads';
import { lowerThreadPriority } from '../../system/thread-priority.ts';
import { verifyPassword } from './password-hash.ts';

/** The request to a worker thread. */
export type PasswordRequest = { readonly password: string; readonly hash: string };
/** The answer of a worker thread; `failure` when the check could not be made. */
export type PasswordReply = { readonly matches: boolean } | { readonly failure: string };

lowerThreadPriority();
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
