/** A refusal of a CA (RFC 8555 section 6.7), or one of the ways in which it could not be asked. */
export class AcmeError extends Error {
  override readonly name = 'AcmeError';
  /** The last part of the problem's type, such as `rateLimited`; empty: it is no refusal of the CA. */
  readonly type: string;
  readonly status: number;
  /** When to ask again, in milliseconds from now; null: the CA does not say. */
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    {
      type = '',
      status = 0,
      retryAfterMs = null,
      cause,
    }: { type?: string; status?: number; retryAfterMs?: number | null; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.type = type;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The order has failed at the CA, which counts it: the next one has to wait. */
export class OrderFailed extends AcmeError {}

const maxTextLength = 300;

/** A CA's text for log and files: shortened, in one line. */
export function quoteCa(text: string): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return clean.length > maxTextLength ? `${clean.slice(0, maxTextLength)}…` : clean;
}

const urnPrefix = 'urn:ietf:params:acme:error:';

/** The type of a problem without its prefix; empty: it is none of ACME's. */
export function problemType(type: string | undefined): string {
  return type?.startsWith(urnPrefix) === true ? type.slice(urnPrefix.length) : '';
}

const maxRetryAfterMs = 7 * 86_400_000;

/** Parses Retry-After (RFC 9110 section 10.2.3); null: there is none that can be read. At most a week. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null;
  const ms = /^\d{1,12}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), maxRetryAfterMs) : null;
}
