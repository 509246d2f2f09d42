import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import { isErrorCode, OciError, type OciErrorCode } from '../../registry/error.ts';

/** An answer of a route's registry that is an error. */
export type ErrorAnswer = {
  readonly status: number;
  readonly rawHeaders: RawHeaders;
  /** Empty for HEAD, and when it is too long to be read. */
  readonly body: Buffer;
};

export type DescribedRegistry = {
  /** What clients are told it is, as the beginning of a sentence. */
  readonly description: string;
  /** Whether it only mirrors another registry. */
  readonly isMirror: boolean;
};

/** Fields of such an answer that the client needs. */
const kept = ['retry-after', 'allow', 'range', 'content-range'];
const maxMessageLength = 500;
/** For answers without a code, as those to HEAD are. */
const usualCodes: Readonly<Record<number, OciErrorCode>> = {
  403: 'DENIED',
  404: 'NOT_FOUND',
  405: 'UNSUPPORTED',
  413: 'SIZE_INVALID',
  416: 'RANGE_INVALID',
};

/**
 * Says what a route's registry answered, by outer names: its own words may name what clients know by another name, or
 * where its credentials are to be sent.
 * @param name gives a text of the registry with the outer name of the repository
 */
export function describeErrorAnswer(
  { status, rawHeaders, body }: ErrorAnswer,
  { description, isMirror }: DescribedRegistry,
  name: (text: string) => string,
): OciError {
  const { code, message } = readError(body);
  const said = code === null ? String(status) : `${status} ${code}`;
  const headers = Object.fromEntries(
    kept.flatMap((field) => headerValues(rawHeaders, field).map((value) => [field, value])),
  );
  if (status >= 500 && isMirror) {
    const told = describeSource(body.toString('latin1'), description, headers);
    if (told !== null) return told;
  }
  if (status === 401)
    return new OciError(
      'BAD_GATEWAY',
      `${description} wants credentials that were not accepted or not set.`,
      {
        reason: 'upstream-challenge',
        cause: new Error("Set the route's upstream.username and upstream.password."),
      },
    );
  if (status === 429)
    return new OciError('TOOMANYREQUESTS', `${description} limits how much may be pulled; try again later.`, {
      headers,
      reason: 'upstream-rate-limit',
    });
  if (status === 503)
    return new OciError('UNAVAILABLE', `${description} cannot answer now (${said}).`, {
      headers,
      reason: 'upstream-server-error',
    });
  if (status >= 500)
    return new OciError(
      'BAD_GATEWAY',
      isMirror
        ? `${description} could not get it (${said}): what it mirrors may be away or refuse.`
        : `${description} failed (${said}).`,
      { reason: 'upstream-server-error' },
    );
  const own = code ?? usualCodes[status] ?? 'UNKNOWN';
  const sentence = message === '' ? `${description} answered ${said}.` : name(message);
  return new OciError(own, sentence, { headers, status });
}

/**
 * A registry in proxy mode answers 500 for what its source answers, which stands in its detail (docker-registry 2.8 and
 * 3.0).
 */
function describeSource(body: string, description: string, headers: Record<string, string>): OciError | null {
  if (/manifest[_ ]unknown/i.test(body))
    return new OciError('MANIFEST_UNKNOWN', `${description} has no such manifest, nor has what it mirrors.`);
  if (/toomanyrequests|\b429\b/i.test(body))
    return new OciError('TOOMANYREQUESTS', `${description} was refused: what it mirrors limits pulls.`, {
      headers,
    });
  if (/unauthorized|"denied"|\b401\b/i.test(body))
    return new OciError(
      'NOT_FOUND',
      `${description} has it not, and what it mirrors says only to others whether it exists: check the name, and the mirror's credentials.`,
    );
  return null;
}

/** Replaces the inner name of a repository, where it stands alone. */
export function replaceName(text: string, inner: string, outer: string): string {
  const alone = new RegExp(`(?<![a-z0-9._/-])${inner.replaceAll('.', '\\.')}(?![a-z0-9._/-])`, 'g');
  return text.replace(alone, () => outer);
}

/** The first error of the distribution-spec's form; of any other body nothing. */
function readError(body: Buffer): { code: OciErrorCode | null; message: string } {
  const nothing = { code: null, message: '' };
  try {
    const { errors } = JSON.parse(body.toString()) as { errors?: unknown };
    const [first] = Array.isArray(errors) ? (errors as readonly unknown[]) : [];
    const { code, message } = (first ?? {}) as { code?: unknown; message?: unknown };
    return {
      code: typeof code === 'string' && isErrorCode(code) ? code : null,
      // A URL is the registry's own, or that of what it mirrors, with an inner name in it.
      message:
        typeof message === 'string' && !message.includes('://') ? message.slice(0, maxMessageLength) : '',
    };
  } catch {
    return nothing;
  }
}
