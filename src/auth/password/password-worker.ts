import { parentPort } from 'node:worker_threads';
import { lowerThreadPriority } from '../../system/thread-priority.ts';
import { hashPassword, verifyPassword } from './password-hash.ts';

/** The request to a worker thread: to check a password, or to hash a new one at this cost. */
export type PasswordRequest = { readonly password: string } & (
  { readonly hash: string } | { readonly cost: number }
);
/** The answer of a worker thread: whether it matches, or the hash; `failure` when it could not be made. */
export type PasswordReply = { readonly result: boolean | string } | { readonly failure: string };

lowerThreadPriority();
parentPort?.on('message', (request: PasswordRequest) => {
  parentPort?.postMessage(answer(request));
});

function answer(request: PasswordRequest): PasswordReply {
  const { password } = request;
  try {
    return {
      result:
        'hash' in request ? verifyPassword(password, request.hash) : hashPassword(password, request.cost),
    };
  } catch (error) {
    return { failure: String(error) };
  }
}
