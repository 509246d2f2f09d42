import type { OciErrorCode } from '../registry/error.ts';

/** Why a page cannot be shown. */
export type FailureKind =
  | 'badRequest'
  | 'forbidden'
  | 'notFound'
  | 'notAllowed'
  /** The form is from another session, or from elsewhere. */
  | 'staleForm'
  /** The browser came without TLS, and would keep no session. */
  | 'plainHttp'
  /** Others ask too much now. */
  | 'busy'
  /** The page would have to ask the registry for more than a page may. */
  | 'tooMuch'
  /** The registry refused, or answered what cannot be read. */
  | 'registryFailed'
  | 'registryDown'
  | 'internal';

/** The status of each, and the code of its log line. */
export const failures: Readonly<
  Record<FailureKind, { readonly status: number; readonly code: OciErrorCode }>
> = {
  badRequest: { status: 400, code: 'BAD_REQUEST' },
  forbidden: { status: 403, code: 'DENIED' },
  notFound: { status: 404, code: 'NOT_FOUND' },
  notAllowed: { status: 405, code: 'UNSUPPORTED' },
  staleForm: { status: 403, code: 'DENIED' },
  plainHttp: { status: 403, code: 'DENIED' },
  busy: { status: 503, code: 'UNAVAILABLE' },
  tooMuch: { status: 422, code: 'BAD_REQUEST' },
  registryFailed: { status: 502, code: 'BAD_GATEWAY' },
  registryDown: { status: 504, code: 'GATEWAY_TIMEOUT' },
  internal: { status: 500, code: 'UNKNOWN' },
};

/** An error that a page tells. Thrown anywhere in the console, written only by its error boundary. */
export class ConsoleError extends Error {
  override readonly name = 'ConsoleError';
  readonly kind: FailureKind;
  /** The `reason` of the request's log line; null: the kind says enough. */
  readonly reason: string | null;

  constructor(kind: FailureKind, reason: string | null = null) {
    super(`A page of the console cannot be shown: ${kind}.`);
    this.kind = kind;
    this.reason = reason;
  }
}
