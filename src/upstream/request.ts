import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { OciError } from '../registry/error.ts';
import type { RawHeaders } from '../http/raw-headers.ts';
import { createCollectedBytes } from '../system/collected-bytes.ts';
import type { AskOptions } from './forward.ts';
import { hasForeignCoding } from './headers.ts';
import { describeUpstreamFailure, isStale } from './upstream-failure.ts';
import { watchUpstreamSocket } from './upstream-socket.ts';

export type AskedRequest = {
  readonly method: 'GET' | 'HEAD';
  readonly rawTarget: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
};

/** Asks upstream and gives the answer whole, or null when its body has more than `maxBytes`. @throws OciError when there is none. */
export type Ask = (request: AskedRequest, limits: FetchLimits) => Promise<Fetched | null>;

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
  /** Of a longer body nothing is given. */
  readonly maxBytes: number;
  /** Ends the asking. */
  readonly signal: AbortSignal;
  /** Where room for the body is taken from as it comes, and given back when all of it is here; nothing is given of what finds none. */
  readonly room?: { take(bytes: number): boolean; give(bytes: number): void };
};

/** Asks upstream with GET on nobody's behalf. Gives null for an answer of more than `maxBytes`. @throws OciError when there is none. */
export type Fetch = (request: FetchRequest, limits: FetchLimits) => Promise<Fetched | null>;

/** Builds the way manifests are fetched for everyone who waits for them. */
export function createFetch(
  ask: Ask,
  upstreamAuthorization: string | null,
  room: NonNullable<FetchLimits['room']>,
): Fetch {
  return ({ rawTarget, host, accept }, limits) => {
    const headers = {
      ...(host === null ? {} : { Host: host, 'X-Forwarded-Host': host }),
      'X-Forwarded-Proto': 'https',
      'User-Agent': 'tidegate',
      ...(accept.length === 0 ? {} : { Accept: [...accept] }),
      ...(upstreamAuthorization === null ? {} : { Authorization: upstreamAuthorization }),
    };
    return ask({ method: 'GET', rawTarget, headers }, { ...limits, room });
  };
}

/** Builds the way upstream is asked for small answers; like every GET, once more when a kept connection was stale. */
export function createAsk({ upstream, connectTimeoutMs, readTimeoutMs }: AskOptions): Ask {
  const isSecure = upstream.url.protocol === 'https:';
  const open = isSecure ? httpsRequest : httpRequest;

  const attempt = (asked: AskedRequest, limits: FetchLimits, reuse: boolean): Promise<Fetched | null> =>
    new Promise((resolve, reject) => {
      const request: ClientRequest = open({
        hostname: upstream.url.hostname.replace(/^\[|\]$/g, ''),
        port: upstream.url.port,
        method: asked.method,
        path: asked.rawTarget,
        agent: reuse ? upstream.keepAliveAgent : upstream.freshAgent,
        signal: limits.signal,
        headers: asked.headers,
      });
      let stopTimers = () => {};
      /** A request that is destroyed fails once more, in a way that looks like a stale connection. */
      let settled = false;
      let takenBytes = 0;
      const settle = (act: () => void) => {
        if (settled) return;
        settled = true;
        stopTimers();
        limits.room?.give(takenBytes);
        act();
      };
      const fail = (error: OciError) =>
        settle(() => {
          request.destroy();
          reject(error);
        });
      request.on('socket', (socket) => {
        stopTimers = watchUpstreamSocket(socket, {
          connectTimeoutMs,
          readTimeoutMs,
          isNew: !request.reusedSocket,
          isSecure,
          onConnectTimeout: () =>
            fail(
              new OciError(
                'GATEWAY_TIMEOUT',
                `The registry could not be reached within ${connectTimeoutMs} ms.`,
              ),
            ),
          onIdle: () =>
            fail(new OciError('GATEWAY_TIMEOUT', `The registry was silent for ${readTimeoutMs} ms.`)),
        });
      });
      request.on('error', (error: Error & { code?: string }) => {
        settle(() => {
          if (reuse && isStale(request.reusedSocket, error)) resolve(attempt(asked, limits, false));
          else reject(describeUpstreamFailure(error));
        });
      });
      request.once('upgrade', (_response, socket) => {
        socket.destroy();
        fail(describeUpstreamFailure(new Error('it answered 101 Switching Protocols unasked')));
      });
      request.on('response', (response: IncomingMessage) => {
        if (hasForeignCoding(response.rawHeaders)) {
          fail(describeUpstreamFailure(new Error('its Transfer-Encoding is not "chunked"')));
          return;
        }
        const body = createCollectedBytes();
        const takesRoom = (more: number): boolean => {
          if (limits.room?.take(more) === false) return false;
          takenBytes += more;
          return true;
        };
        response.on('error', () => {}); // 'close' follows
        response.on('data', (chunk: Buffer) => {
          if (body.length + chunk.length <= limits.maxBytes && takesRoom(chunk.length)) {
            body.add(chunk);
            return;
          }
          settle(() => {
            request.destroy();
            resolve(null);
          });
        });
        response.on('end', () => {
          settle(() =>
            resolve({
              status: response.statusCode ?? 0,
              reason: response.statusMessage ?? '',
              rawHeaders: response.rawHeaders,
              body: body.read(),
            }),
          );
        });
        response.on('close', () => {
          if (!response.complete) fail(new OciError('BAD_GATEWAY', 'The registry broke off its answer.'));
        });
      });
      request.end();
    });

  return (asked, limits) => attempt(asked, limits, true);
}
