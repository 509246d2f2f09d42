import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { OciError } from '../registry/error.ts';
import type { Upstream } from './connections.ts';
import { describeUpstreamFailure, isStale } from './upstream-failure.ts';
import { setSocketTimeouts } from './upstream-socket.ts';

/** Where requests go, and how long they may take. */
export type UpstreamAccess = {
  readonly upstream: Upstream;
  readonly connectTimeoutMs: number;
  /** How long upstream may be silent while it is upstream's turn, in milliseconds. */
  readonly readTimeoutMs: number;
};

/** What is told of a request by whoever opened it. */
export type RequestEvents = {
  /** It has its connection, and nothing has been sent. */
  readonly onSocket: (request: ClientRequest) => void;
  readonly onResponse: (response: IncomingMessage) => void;
  readonly onError: (error: Error & { code?: string }) => void;
};

export type UpstreamRequestOptions = {
  /** Opens a request on one of the agent's connections. */
  readonly open: (agent: Agent, events: RequestEvents) => void;
  /** Whether it may be sent twice: it has no body, and changes nothing. */
  readonly isRepeatable: boolean;
  /** Called when a request has its connection, for each that is opened. */
  readonly onSocket?: (request: ClientRequest) => void;
  /** Asked when upstream has been silent for too long; left out: it always is. */
  readonly isUpstreamsTurn?: () => boolean;
  readonly onResponse: (response: IncomingMessage) => void;
  /** No answer comes. Called also for what breaks an answer, of which its own 'close' tells, too. */
  readonly onFailure: (error: OciError) => void;
  /** Upstream was silent for too long, before its answer or in it. */
  readonly onSilence: (error: OciError) => void;
};

/** A request to upstream. The one who opened it must end it by `release` or `destroy`. */
export type UpstreamRequest = {
  /** The one that is under way; undefined: it has no connection yet. */
  readonly current: ClientRequest | undefined;
  /** Watches it no more, and tells nothing more of it. */
  release(): void;
  /** Releases it, and ends its connection. */
  destroy(): void;
};

/**
 * Opens a request to upstream: the one place that chooses its connection, tries once more when a kept one turns out stale, refuses a
 * change of protocols, and bounds connecting and silence.
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
        if (isReleased || options.isUpstreamsTurn?.() === false) return;
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
        // One that is destroyed fails once more, in a way that looks like a stale connection.
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
    get current() {
      return current;
    },
    release,
    destroy: () => {
      release();
      current?.destroy();
    },
  };
}

/** A 101 comes as neither response nor error; without this Node would close the socket and say nothing. */
function refuseUpgrade(request: ClientRequest, fail: (error: OciError) => void): void {
  request.once('upgrade', (_response, socket) => {
    socket.destroy();
    fail(describeUpstreamFailure(new Error('it answered 101 Switching Protocols unasked')));
  });
}

function timedOut(what: string): OciError {
  return new OciError('GATEWAY_TIMEOUT', `The registry ${what}.`);
}
