import { ConsoleError } from '../console-error.ts';
import type { RegistryAnswer } from './registry-client.ts';

/** Whether there is what was asked for. @throws ConsoleError when the answer does not say */
export function isFound({ status }: Pick<RegistryAnswer, 'status'>): boolean {
  if (status === 200) return true;
  if (status === 404) return false;
  throw errorOf(status);
}

/** What the registry, or a stage before it, answers to a client. */
function errorOf(status: number): ConsoleError {
  switch (status) {
    case 401:
    case 403:
      return new ConsoleError('forbidden', 'registry-denied');
    case 429:
    case 503:
      return new ConsoleError('busy', `registry-${status}`);
    case 502:
    case 504:
      return new ConsoleError('registryDown', `registry-${status}`);
    default:
      return new ConsoleError('registryFailed', `registry-${status}`);
  }
}
