import type { RegistryAnswer } from './registry-client.ts';

/**
 * Why the registry did not give what a page shows. `denied`: the visitor may not, and hears no more than a client would; `unavailable`: it
 * is down, busy or broken; `too-large`: the answer is larger than a page reads.
 */
export type FaultKind = 'denied' | 'unavailable' | 'too-large';

export class RegistryFault extends Error {
  override readonly name = 'RegistryFault';
  readonly kind: FaultKind;
  /** Null: there was no answer. */
  readonly status: number | null;

  constructor(kind: FaultKind, status: number | null) {
    super(`The registry did not answer as a page needs it: ${kind}${status === null ? '' : ` (${status})`}.`);
    this.kind = kind;
    this.status = status;
  }
}

/** Whether there is what was asked for. @throws RegistryFault when the answer does not say */
export function isFound({ status }: Pick<RegistryAnswer, 'status'>): boolean {
  if (status === 200) return true;
  if (status === 404) return false;
  throw faultOf(status);
}

export function faultOf(status: number): RegistryFault {
  return new RegistryFault(status === 401 || status === 403 ? 'denied' : 'unavailable', status);
}
