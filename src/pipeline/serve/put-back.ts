import { headerValues } from '../../http/raw-headers.ts';
import { OciError } from '../../registry/error.ts';
import type { Fetched, InternalRequest, RequestUpstream } from '../../upstream/request.ts';
import type { Exchange } from '../exchange.ts';
import { clientGone } from '../tag-rules/tag-lookup.ts';
import { whileClientStays } from '../while-client-stays.ts';
import { buildInternalHeaders } from './internal-request.ts';

/**
 * Uploads the bytes of a manifest as a blob of its repository. So they are in the registry's storage also when it
 * remembers them as present, and would write nothing on a push. @throws OciError UNAVAILABLE
 */
export type PutBack = (
  exchange: Exchange,
  repository: string,
  digest: string,
  bytes: Buffer,
) => Promise<void>;

export type PutBackOptions = {
  /** It must not wait for deletes: the push that this belongs to has. */
  readonly requestUpstream: RequestUpstream;
  /** A whole Authorization value for upstream; null for none. */
  readonly upstreamAuthorization: string | null;
};

/** The largest answer that is read, in bytes. */
const maxAnswerBytes = 64 * 1024;
const retryAfterSeconds = 5;

export function createPutBack({ requestUpstream, upstreamAuthorization }: PutBackOptions): PutBack {
  return async (exchange, repository, digest, bytes) => {
    const headers = buildInternalHeaders(exchange, upstreamAuthorization);
    const upload = async (signal: AbortSignal): Promise<Fetched | null> => {
      const ask = (method: 'POST' | 'PUT', rawTarget: string, body: Buffer) => {
        const framed: InternalRequest['headers'] = {
          ...headers,
          'Content-Type': 'application/octet-stream',
          'Content-Length': String(body.length),
        };
        return requestUpstream(
          { method, rawTarget, headers: framed, body },
          { maxBytes: maxAnswerBytes, signal },
        );
      };
      const started = await ask('POST', `/v2/${repository}/blobs/uploads/`, Buffer.alloc(0));
      const session = started?.status === 202 ? readSession(started) : null;
      if (session === null) return started;
      return ask('PUT', `${session}${session.includes('?') ? '&' : '?'}digest=${digest}`, bytes);
    };
    const answer = await whileClientStays(exchange, async (signal) => ({ end: await upload(signal) })).catch(
      (cause: unknown) => {
        throw notPutBack(cause);
      },
    );
    if (answer === null) throw clientGone();
    if (answer.end?.status !== 201)
      throw notPutBack(
        new Error(`the registry answered ${answer.end?.status ?? 'too much'} to an upload of it`),
      );
  };
}

/** Reads the target of the upload's session, whatever name the registry has for itself. */
function readSession({ rawHeaders }: Fetched): string | null {
  const [location] = headerValues(rawHeaders, 'location');
  if (location === undefined || !URL.canParse(location, 'http://registry')) return null;
  const { pathname, search } = new URL(location, 'http://registry');
  return `${pathname}${search}`;
}

/** The 503 for a manifest that may be missing from the registry's storage, and could not be put there. */
export function notPutBack(cause: unknown): OciError {
  return new OciError(
    'UNAVAILABLE',
    'A clean-up has deleted a manifest like this one, and it could not be written again: try again in a moment.',
    { cause, headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}
