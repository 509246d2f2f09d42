import type { ClientRequest, IncomingMessage, OutgoingMessage, ServerResponse } from 'node:http';
import type { Stream } from 'node:stream';
import httpProxy from 'http-proxy';
import { OciError } from '../registry/error.ts';
import { headerPairs, headerValues } from '../http/raw-headers.ts';
import { createBodyBuffers } from './body/body-buffers.ts';
import { relayDirectly, type DirectBody } from './body/direct-body.ts';
import { relayParsed, type ParsedBody } from './body/parsed-body.ts';
import { buildClientHeaders, hasForeignCoding, type ResponseEdits } from './headers.ts';
import type { RelayBudget } from './body/relay-budget.ts';
import { createRequestBody, type RequestBody } from './body/request-body.ts';
import { watchUpstreamSocket } from './upstream-socket.ts';
import { silenceDeprecation } from '../system/silence-deprecation.ts';
import type { Upstream } from './connections.ts';
import { describeUpstreamFailure, isStale } from './upstream-failure.ts';

export type AskOptions = {
  readonly upstream: Upstream;
  readonly connectTimeoutMs: number;
  /** How long upstream may be silent while it is upstream's turn, in milliseconds. */
  readonly readTimeoutMs: number;
};

export type EngineOptions = AskOptions & {
  /** What bodies may keep waiting for slow readers. */
  readonly budget: RelayBudget;
};

export type ForwardRequest = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The request target, sent to upstream byte for byte. */
  readonly rawTarget: string;
  readonly headers: Record<string, string | string[]>;
  readonly edits: Omit<ResponseEdits, 'mayHaveTrailers'>;
  /** A body that turns out larger is refused with 413, in bytes; one that says so in its head is the caller's to refuse. */
  readonly maxBodyBytes: number;
  /** Called with upstream's status and raw headers; nothing is sent to the client before it is done. */
  readonly onResponse: (status: number, rawHeaders: readonly string[]) => Promise<void> | undefined;
  /** See RequestBodyOptions. What the promise rejects with is the error. */
  readonly beforeEnd?: (() => Promise<void> | undefined) | undefined;
  /**
   * Asked when the client leaves and upstream has all of its request: whether upstream's answer is waited for, before which nobody
   * knows what came of it. Left out: it is not.
   */
  readonly outlivesClient?: (() => boolean) | undefined;
};

/** How a transfer ended: the whole answer was written (`res` is still to be ended), or one side broke off and both were cut. */
export type TransferEnd = 'relayed' | 'client-left' | 'upstream-broke';

/** One request on its way through, from the request line to the last byte of the answer. */
export type Transfer = {
  /** Rejects with an OciError when upstream gave no answer; nothing has been sent to the client then. */
  readonly ended: Promise<TransferEnd>;
  /** Whether the next move is the client's: to send more of its body, or to read what is waiting for it. */
  waitsForClient(): boolean;
  readonly bytesIn: number;
  readonly bytesOut: number;
};

/** Carries requests to upstream and answers back, with back-pressure both ways and nothing kept. */
export type Engine = { forward(request: ForwardRequest): Transfer };

/** One use of http-proxy: what its events are handed to. */
type Attempt = {
  onRequest(upstreamRequest: ClientRequest): void;
  onResponse(response: IncomingMessage): void;
};

/** http-proxy's list of steps, which its types leave out. */
type WebPass = (...args: unknown[]) => unknown;

/**
 * Builds the engine on http-proxy, which opens the upstream request and begins the request body; everything else that
 * it would do is replaced, because headers, paths, framing, errors and early ends must come through exactly.
 */
export function createEngine({ upstream, connectTimeoutMs, readTimeoutMs, budget }: EngineOptions): Engine {
  silenceDeprecation('DEP0060'); // util._extend, which http-proxy calls
  const proxy = httpProxy.createProxyServer({
    target: {
      protocol: upstream.url.protocol,
      hostname: upstream.url.hostname.replace(/^\[|\]$/g, ''),
      port: upstream.url.port,
    } as httpProxy.ProxyTarget & object,
    selfHandleResponse: true,
    // The path is set in onRequest, raw: http-proxy's own joining would turn `//` and `\` into `/`.
    toProxy: true,
    ignorePath: true,
  });
  // Only the step that streams. Among the others, deleteLength gives a DELETE with a chunked body a content-length of 0,
  // so that the body becomes the next request on the connection.
  const steps = proxy as unknown as { webPasses: WebPass[] };
  steps.webPasses = steps.webPasses.filter((pass) => pass.name === 'stream');

  const openBuffers = createBodyBuffers(budget);
  const attempts = new WeakMap<IncomingMessage, Attempt>();
  proxy.on('proxyReq', (upstreamRequest, req) => attempts.get(req)?.onRequest(upstreamRequest));
  proxy.on('proxyRes', (response, req) => attempts.get(req)?.onResponse(response));

  const forward = (request: ForwardRequest): Transfer => {
    const { req, res, rawTarget, headers, edits, maxBodyBytes } = request;
    const repeatable = req.method === 'GET' || req.method === 'HEAD';
    let requestBody: RequestBody | undefined;
    let upstreamRequest: ClientRequest | undefined;
    let response: IncomingMessage | undefined;
    let direct: DirectBody | undefined;
    let parsed: ParsedBody | undefined;
    const openBodyBuffers = () => {
      const buffers = openBuffers();
      res.once('close', buffers.forget);
      return buffers;
    };
    let settled = false;
    let mayRetry = repeatable;
    let stopTimers = () => {};
    let bytesIn = 0;
    let bytesOut = 0;

    const waitsForClient = (): boolean => {
      if (settled) return true;
      if (response) return (direct ?? parsed)?.waitsForClient() ?? false;
      return upstreamRequest !== undefined && !req.complete && requestBody?.waitsForUpstream === false;
    };

    const ended = new Promise<TransferEnd>((resolve, reject) => {
      const settle = (act: () => void) => {
        if (settled) return;
        settled = true;
        stopTimers();
        direct?.close();
        attempts.delete(req);
        res.off('close', onClientClose);
        act();
      };
      const dropUpstream = () => {
        if (!upstreamRequest) return;
        requestBody?.stop();
        upstreamRequest.destroy();
      };
      const fail = (error: OciError) =>
        settle(() => {
          dropUpstream();
          reject(error);
        });
      const cut = (end: TransferEnd) =>
        settle(() => {
          dropUpstream();
          res.destroy();
          resolve(end);
        });
      const onClientClose = () => {
        const waits = !response && upstreamRequest?.writableEnded === true && request.outlivesClient?.();
        if (!waits) cut('client-left');
      };

      const holdEnd = (held: Promise<void> | undefined) => {
        held?.catch((error: unknown) => fail(error as OciError));
        return held;
      };

      const onFailure = (error: Error & { code?: string }) => {
        if (settled || response) return;
        if (mayRetry && isStale(upstreamRequest?.reusedSocket === true, error)) {
          mayRetry = false;
          stopTimers();
          start(false);
        } else fail(describeUpstreamFailure(error));
      };

      const onRequest = (opened: ClientRequest) => {
        upstreamRequest = opened;
        const { socket } = opened;
        if (settled || opened.headersSent || socket === null) {
          opened.destroy();
          return;
        }
        opened.path = rawTarget;
        // Here and not by http-proxy: Node's constructor would send the fields of an object in reverse.
        for (const [name, value] of Object.entries(headers)) opened.setHeader(name, value);
        // A 101 comes as neither response nor error; without this Node would close the socket and say nothing.
        opened.once('upgrade', (_response, socket) => {
          socket.destroy();
          fail(describeUpstreamFailure(new Error('it answered 101 Switching Protocols unasked')));
        });
        // A head whose body is not here yet goes out alone: upstream may refuse the one without having seen the other.
        setImmediate(() => {
          if (!settled && !req.complete) sendHead(opened);
        });
        stopTimers = watchUpstreamSocket(socket, {
          connectTimeoutMs,
          readTimeoutMs,
          isNew: !opened.reusedSocket,
          isSecure: upstream.url.protocol === 'https:',
          onConnectTimeout: () =>
            fail(
              new OciError(
                'GATEWAY_TIMEOUT',
                `The registry could not be reached within ${connectTimeoutMs} ms.`,
              ),
            ),
          onIdle: () => {
            if (waitsForClient() || requestBody?.isHeld === true) return;
            if (response) cut('upstream-broke');
            else fail(new OciError('GATEWAY_TIMEOUT', `The registry was silent for ${readTimeoutMs} ms.`));
          },
        });
      };

      const onResponse = (incoming: IncomingMessage) => {
        if (settled) {
          incoming.destroy();
          return;
        }
        response = incoming;
        incoming.on('error', () => {}); // 'close' follows, and decides
        incoming.on('close', () => cut('upstream-broke')); // does nothing once 'end' has settled
        const hold = request.onResponse(incoming.statusCode ?? 0, incoming.rawHeaders);
        if (hold === undefined) relay(incoming);
        else void hold.then(() => relay(incoming));
      };

      const relay = (incoming: IncomingMessage) => {
        if (settled) return;
        if (res.destroyed) {
          cut('client-left');
          return;
        }
        try {
          if (hasForeignCoding(incoming.rawHeaders))
            throw new Error('its Transfer-Encoding is not "chunked"');
          const inChunks = headerValues(incoming.rawHeaders, 'transfer-encoding').length > 0;
          // An answer that comes before the whole request has been read ends the connection after it.
          if (!req.complete) res.shouldKeepAlive = false;
          res.writeHead(
            incoming.statusCode ?? 0,
            incoming.statusMessage ?? '',
            buildClientHeaders(incoming.rawHeaders, {
              ...edits,
              mayHaveTrailers: inChunks && req.method !== 'HEAD' && req.httpVersion === '1.1',
            }),
          );
        } catch (cause) {
          fail(new OciError('BAD_GATEWAY', 'The registry gave an answer that is not valid HTTP.', { cause }));
          return;
        }
        // The head goes out with the first of the body when that is already here, and alone when it is not.
        setImmediate(() => {
          if (!settled && bytesOut === 0) sendHead(res);
        });
        if (req.method === 'GET' && req.complete) {
          direct = relayDirectly({
            incoming,
            res,
            openBuffers: openBodyBuffers,
            onBytes: (bytes) => (bytesOut += bytes),
            onEnd: () =>
              settle(() => {
                dropUpstream();
                resolve('relayed');
              }),
          });
          if (direct) return;
        }
        parsed = relayParsed({ incoming, res, budget, onBytes: (bytes) => (bytesOut += bytes) });
        incoming.on('end', () =>
          settle(() => {
            if (incoming.rawTrailers.length > 0 && res.chunkedEncoding)
              res.addTrailers([...headerPairs(incoming.rawTrailers)]);
            if (!req.complete) dropUpstream();
            resolve('relayed');
          }),
        );
      };

      requestBody = createRequestBody({
        req,
        openBuffers: openBodyBuffers,
        onBytes: (bytes) => {
          bytesIn += bytes;
          if (bytesIn > maxBodyBytes) fail(tooLarge(maxBodyBytes));
        },
        beforeEnd: request.beforeEnd && (() => holdEnd(request.beforeEnd?.())),
      });
      const buffer = requestBody as unknown as Stream; // http-proxy only calls its pipe
      const start = (reuse: boolean) =>
        proxy.web(
          req,
          res,
          { agent: reuse ? upstream.keepAliveAgent : upstream.freshAgent, buffer },
          onFailure,
        );

      req.headers = {}; // http-proxy would send these; onRequest sets what is sent
      attempts.set(req, { onRequest, onResponse });
      res.on('close', onClientClose);
      start(repeatable);
    });

    return {
      ended,
      waitsForClient,
      get bytesIn() {
        return bytesIn;
      },
      get bytesOut() {
        return bytesOut;
      },
    };
  };

  return { forward };
}

/** Sends a head without anything of its body. Node's flushHeaders would encode it as UTF-8, and change bytes above ASCII. */
function sendHead(message: OutgoingMessage): void {
  message.write('', 'latin1');
}

/** The 413 for a manifest over the limit. */
export function tooLarge(maxBytes: number): OciError {
  return new OciError(
    'SIZE_INVALID',
    `The body is larger than the ${maxBytes} bytes that a manifest may have.`,
  );
}
