import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request, type Agent } from 'node:https';
import { CollectedBytes } from '../system/collected-bytes.ts';
import { refuseUpgrade } from '../system/unasked-upgrade.ts';

/** A request to a CA. */
export type HttpsRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: string;
  /** Sent as `application/jose+json`. */
  readonly body?: string;
};

export type HttpsAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
};

export type HttpsOptions = {
  readonly agent: Agent;
  /** PEM of the CAs that verify the server, instead of the public ones; null: the public ones. */
  readonly ca: string | null;
  /** Aborts the request at any point. */
  readonly signal: AbortSignal;
};

/** The longest time of one request, whatever comes meanwhile. */
const timeoutMs = 30_000;
/** Many times the largest chain and the largest order. */
const maxBytes = 256 * 1024;
const maxHeaderBytes = 16 * 1024;

/**
 * Sends one request over https. Follows no redirect, and reads a bounded answer in a bounded time.
 * @throws Error whose message says why it failed
 */
export async function exchange(
  { method, url, body }: HttpsRequest,
  { agent, ca, signal }: HttpsOptions,
): Promise<HttpsAnswer> {
  const late = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([late, signal]);
  try {
    return await send(method, readUrl(url), body, { agent, ca, signal: either });
  } catch (error) {
    if (late.aborted)
      throw new Error(`it did not answer within ${timeoutMs / 1000} seconds`, { cause: error });
    throw error;
  }
}

/** A CA names the URLs to ask. One without TLS would give away nothing, but could be anybody's. */
function readUrl(text: string): URL {
  if (!URL.canParse(text)) throw new Error('it named something that is no URL');
  const url = new URL(text);
  if (url.protocol !== 'https:' || url.username !== '' || url.password !== '')
    throw new Error('it named a URL that is not https://HOST/…');
  return url;
}

async function send(
  method: string,
  url: URL,
  body: string | undefined,
  { agent, ca, signal }: HttpsOptions,
): Promise<HttpsAnswer> {
  const asked = request(url, {
    method,
    agent,
    signal,
    rejectUnauthorized: true,
    maxHeaderSize: maxHeaderBytes,
    ...(ca === null ? {} : { ca }),
    headers: {
      'User-Agent': 'tidegate',
      'Accept-Language': 'en',
      ...(body === undefined
        ? {}
        : { 'Content-Type': 'application/jose+json', 'Content-Length': String(Buffer.byteLength(body)) }),
    },
  });
  asked.on('error', () => {}); // one that comes before the answer rejects below, too
  refuseUpgrade(asked);
  asked.end(body);
  try {
    const [response] = (await once(asked, 'response', { signal })) as [IncomingMessage];
    const { statusCode: status = 0, headers } = response;
    if (status >= 300 && status < 400)
      throw new Error(`it answered ${status}, and redirects are not followed`);
    const received = new CollectedBytes();
    for await (const piece of response as AsyncIterable<Buffer>) {
      if (received.length + piece.length > maxBytes)
        throw new Error(`its answer is larger than ${maxBytes} bytes`);
      received.add(piece);
    }
    return { status, headers, body: received.read() };
  } catch (error) {
    asked.destroy();
    throw error;
  }
}
