import { parentPort } from 'node:worker_threads';
import { verifyPassword } from './password-hash.ts';

/** What the pool asks of a worker thread. */
export type PasswordRequest = { readonly password: string; readonly hash: string };
/** What the worker thread answers; `failure` when the check could not be made. */
export type PasswordReply = { readonly matches: boolean } | { readonly failure: string };

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
