import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { OciError } from '../registry/error.ts';
import type { RawHeaders } from '../http/raw-headers.ts';
import { CollectedBytes } from '../system/collected-bytes.ts';
import { hasForeignCoding } from './hop-by-hop.ts';
import { describeUpstreamFailure } from './upstream-failure.ts';
import { openUpstreamRequest, type UpstreamAccess, type UpstreamRequestOptions } from './upstream-request.ts';

export type InternalRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly rawTarget: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Left out: none. */
  readonly body?: Buffer;
};

/**
 * Requests from upstream and returns the whole answer, or null when its body exceeds `maxBytes`. @throws OciError when
 * there is none.
 */
export type RequestUpstream = (request: InternalRequest, limits: FetchLimits) => Promise<Fetched | null>;

export type FetchRequest = {
  readonly rawTarget: string;
  /** The Host to send; null for upstream's own. */
  readonly host: string | null;
  /** The values of the Accept fields to send. */
  readonly accept: readonly string[];
};

export type Fetched = {
  readonly status: number;
  /** The reason phrase of the status line. */
  readonly reason: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Buffer;
};

export type FetchLimits = {
  /** The largest accepted body. */
  readonly maxBytes: number;
  /** Aborts the request. */
  readonly signal: AbortSignal;
  /** Reserves room for the body as it arrives, and is given it back when all is here; without room there is no answer. */
  readonly room?: { take(bytes: number): boolean; give(bytes: number): void };
};

/**
 * Requests from upstream with GET, on behalf of no single client. Returns null for an answer of more than `maxBytes`.
 * @throws OciError when there is none.
 */
export type Fetch = (request: FetchRequest, limits: FetchLimits) => Promise<Fetched | null>;

/** Creates the fetch of manifests for all who wait for them. */
export function createFetch(
  requestUpstream: RequestUpstream,
  upstreamAuthorization: string | null,
  room: NonNullable<FetchLimits['room']>,
): Fetch {
  return (request, limits) => {
    const headers = buildFetchHeaders(request, upstreamAuthorization);
    const { maxBytes, signal } = limits;
    return requestUpstream(
      { method: 'GET', rawTarget: request.rawTarget, headers },
      { maxBytes, signal, room },
    );
  };
}

/** The header fields of a fetch. */
export function buildFetchHeaders(
  { host, accept }: Pick<FetchRequest, 'host' | 'accept'>,
  upstreamAuthorization: string | null,
): InternalRequest['headers'] {
  const headers: Record<string, string | string[]> = {};
  if (host !== null) {
    headers['Host'] = host;
    headers['X-Forwarded-Host'] = host;
  }
  headers['X-Forwarded-Proto'] = 'https';
  headers['User-Agent'] = 'tidegate';
  if (accept.length > 0) headers['Accept'] = [...accept];
  if (upstreamAuthorization !== null) headers['Authorization'] = upstreamAuthorization;
  return headers;
}

/** Creates the function that requests small answers from upstream. */
export function createRequestUpstream(access: UpstreamAccess): RequestUpstream {
  const { url } = access.upstream;
  const openRequest = url.protocol === 'https:' ? httpsRequest : httpRequest;

  return (asked, limits) =>
    new Promise((resolve, reject) => {
      const open: UpstreamRequestOptions['open'] = (agent, events) => {
        const request = openRequest({
          hostname: url.hostname.replace(/^\[|\]$/g, ''),
          port: url.port,
          method: asked.method,
          path: asked.rawTarget,
          agent,
          signal: limits.signal,
          headers: asked.headers,
        });
        request.on('socket', () => events.onSocket(request));
        request.on('error', events.onError).on('response', events.onResponse);
        request.end(asked.body);
      };
      const fail = (error: OciError): void => {
        upstreamRequest.destroy();
        reject(error);
      };
      const upstreamRequest = openUpstreamRequest(access, {
        open,
        isRepeatable: asked.method === 'GET' || asked.method === 'HEAD',
        onResponse: (answer) =>
          collectAnswer(answer, limits, {
            onWhole: (fetched) => {
              upstreamRequest.release();
              resolve(fetched);
            },
            onTooLarge: () => {
              upstreamRequest.destroy();
              resolve(null);
            },
            onBroken: fail,
          }),
        onFailure: fail,
        onSilence: fail,
      });
    });
}

/** Reads an answer to its end, and reports its outcome once. */
function collectAnswer(
  answer: IncomingMessage,
  { maxBytes, room }: FetchLimits,
  events: {
    readonly onWhole: (fetched: Fetched) => void;
    /** It is over a limit, or there is no room for it. */
    readonly onTooLarge: () => void;
    readonly onBroken: (error: OciError) => void;
  },
): void {
  if (hasForeignCoding(answer.rawHeaders)) {
    events.onBroken(describeUpstreamFailure(new Error('its Transfer-Encoding is not "chunked"')));
    return;
  }
  const body = new CollectedBytes();
  let takenBytes = 0;
  let isOver = false;
  const end = (act: () => void): void => {
    if (isOver) return;
    isOver = true;
    room?.give(takenBytes);
    act();
  };
  const takesRoom = (more: number): boolean => {
    if (room?.take(more) === false) return false;
    takenBytes += more;
    return true;
  };
  answer.on('error', () => {}); // 'close' follows
  answer.on('data', (chunk: Buffer) => {
    if (isOver) return;
    if (body.length + chunk.length <= maxBytes && takesRoom(chunk.length)) body.add(chunk);
    else end(events.onTooLarge);
  });
  answer.on('end', () =>
    end(() =>
      events.onWhole({
        status: answer.statusCode ?? 0,
        reason: answer.statusMessage ?? '',
        rawHeaders: answer.rawHeaders,
        body: body.read(),
      }),
    ),
  );
  answer.on('close', () => end(() => events.onBroken(brokenOff())));
}

function brokenOff(): OciError {
  return new OciError('BAD_GATEWAY', 'The registry broke off its answer.');
}
