import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { OciError } from '../registry/error.ts';
import type { Upstream } from './connections.ts';
import { describeUpstreamFailure, isStale } from './upstream-failure.ts';
import { setSocketTimeouts } from './upstream-socket.ts';

/** Where requests go, and their timeouts. */
export type UpstreamAccess = {
  readonly upstream: Upstream;
  readonly connectTimeoutMs: number;
  /** How long upstream may be silent while it is waited for, in milliseconds. */
  readonly readTimeoutMs: number;
};

/** The events of a request that its opener reports. */
export type RequestEvents = {
  /** The request has its connection, and nothing has been sent. */
  readonly onSocket: (request: ClientRequest) => void;
  readonly onResponse: (response: IncomingMessage) => void;
  readonly onError: (error: Error & { code?: string }) => void;
};

export type UpstreamRequestOptions = {
  /** Opens a request on a connection of the agent. */
  readonly open: (agent: Agent, events: RequestEvents) => void;
  /** Whether it may be retried: it has no body, and changes nothing. */
  readonly isRepeatable: boolean;
  /** Called for each opened request when it has its connection. */
  readonly onSocket?: (request: ClientRequest) => void;
  /** Called when upstream has been silent for too long: whether it is waited for. Left out: always. */
  readonly waitsForUpstream?: () => boolean;
  readonly onResponse: (response: IncomingMessage) => void;
  /** No answer comes. Also called when an answer breaks off, which its own 'close' reports too. */
  readonly onFailure: (error: OciError) => void;
  /** Upstream was silent for too long, before or within its answer. */
  readonly onSilence: (error: OciError) => void;
};

/** A request to upstream. Its opener must end it with `release` or `destroy`. */
export type UpstreamRequest = {
  /** The request on its connection; undefined: it has none yet. */
  current(): ClientRequest | undefined;
  /** Ends the timeouts and events. */
  release(): void;
  /** Releases it, and destroys its connection. */
  destroy(): void;
};

/**
 * Opens a request to upstream. The only place that chooses the connection, retries once when a kept one is stale,
 * refuses a change of protocols, and limits connecting and silence.
 */
export function openUpstreamRequest(
  { upstream, connectTimeoutMs, readTimeoutMs }: UpstreamAccess,
  options: UpstreamRequestOptions,
): UpstreamRequest {
  let current: ClientRequest | undefined;
  let isReleased = false;
  let isAnswered = false;
  let stopWatching = () => {};

  const fail = (error: OciError): void => {
    if (!isReleased) options.onFailure(error);
  };
  const watch = (request: ClientRequest): void => {
    if (request.socket === null) return;
    stopWatching = setSocketTimeouts(request.socket, {
      connectTimeoutMs,
      readTimeoutMs,
      isNew: !request.reusedSocket,
      isSecure: upstream.url.protocol === 'https:',
      onConnectTimeout: () => fail(timedOut(`could not be reached within ${connectTimeoutMs} ms`)),
      onIdle: () => {
        if (isReleased || options.waitsForUpstream?.() === false) return;
        options.onSilence(timedOut(`was silent for ${readTimeoutMs} ms`));
      },
    });
  };

  const attempt = (reuses: boolean): void => {
    let hasFailed = false;
    options.open(reuses ? upstream.keepAliveAgent : upstream.freshAgent, {
      onSocket: (request) => {
        current = request;
        if (isReleased) {
          request.destroy();
          return;
        }
        refuseUpgrade(request, fail);
        watch(request);
        options.onSocket?.(request);
      },
      onResponse: (response) => {
        if (isReleased) {
          response.destroy();
          return;
        }
        isAnswered = true;
        options.onResponse(response);
      },
      onError: (error) => {
        // A destroyed request fails once more, with an error that looks like a stale connection.
        if (isReleased || hasFailed) return;
        hasFailed = true;
        if (reuses && !isAnswered && isStale(current?.reusedSocket === true, error)) {
          stopWatching();
          attempt(false);
        } else fail(describeUpstreamFailure(error));
      },
    });
  };
  const release = (): void => {
    isReleased = true;
    stopWatching();
  };

  attempt(options.isRepeatable);
  return {
    current: () => current,
    release,
    destroy: () => {
      release();
      current?.destroy();
    },
  };
}

/** A 101 is reported as neither response nor error; without this Node would close the socket silently. */
function refuseUpgrade(request: ClientRequest, fail: (error: OciError) => void): void {
  request.once('upgrade', (_response, socket) => {
    socket.destroy();
    fail(describeUpstreamFailure(new Error('it answered 101 Switching Protocols unasked')));
  });
}

function timedOut(what: string): OciError {
  return new OciError('GATEWAY_TIMEOUT', `The registry ${what}.`);
}
