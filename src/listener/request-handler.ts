import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerValues } from '../http/raw-headers.ts';
import type { Exchange, Expectation } from '../pipeline/exchange.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { OpenConnections } from './limits/open-connections.ts';

/** Passes the requests of all connections to the current pipeline. */
export type RequestHandler = {
  /** Call it with each request when its head has arrived. */
  handle(req: IncomingMessage, res: ServerResponse, expectation: Expectation): void;
  /** Applies to later requests. Calls back when the last request of the previous pipeline has been answered. */
  usePipeline(pipeline: Pipeline, whenIdle: () => void): void;
};

/** A pipeline, and the number of its requests in progress. */
type Service = { readonly pipeline: Pipeline; active: number; whenIdle: (() => void) | null };

export function createRequestHandler(connections: OpenConnections, pipeline: Pipeline): RequestHandler {
  let service: Service = { pipeline, active: 0, whenIdle: null };
  const enter = (): Service => {
    service.active += 1;
    return service;
  };
  const leave = (left: Service) => {
    left.active -= 1;
    if (left.active === 0) left.whenIdle?.();
  };

  const handle: RequestHandler['handle'] = (req, res, expectation) => {
    const { socket } = req;
    const client = connections.get(socket);
    const connection = client?.open(req);
    if (!client || !connection) {
      socket.destroy();
      return;
    }
    const { underWay } = client;
    if (connections.isEnding(socket)) {
      if (!socket.writable) return; // it arrived while the connection was ending: its client sees that it was not handled
      res.shouldKeepAlive = false;
    }
    // Node drops the bytes behind such a request, so nothing after it on the connection can be trusted.
    if (headerValues(req.rawHeaders, 'upgrade').length > 0) res.shouldKeepAlive = false;
    const last = lastOf(underWay);
    let entered = enter();
    const ready =
      last &&
      new Promise<Pipeline>((resolve) => {
        // Requests after an answer with Connection: close must not be handled (RFC 9112 section 9.6); the socket's
        // close ends them.
        last.res.once('close', () => {
          if (!socket.writable) return;
          // A request that has waited starts now, on the current pipeline.
          leave(entered);
          entered = enter();
          resolve(entered.pipeline);
        });
      });
    const { peerAddress } = client.accepted;
    const exchange = entered.pipeline.handle(req, res, {
      connection,
      expectation,
      ready,
      peerAddress,
      isDraining: connections.isClosing(),
    });
    client.begin(exchange);
    res.once('close', () => {
      const isCostly = client.end(exchange);
      if (underWay.size === 0 && connections.isEnding(socket)) socket.destroySoon();
      else if (isCostly && socket.writable) connections.endIdle(socket);
      leave(entered);
    });
  };

  return {
    handle,
    usePipeline: (next, whenIdle) => {
      service.whenIdle = whenIdle;
      if (service.active === 0) whenIdle();
      service = { pipeline: next, active: 0, whenIdle: null };
    },
  };
}

/**
 * The request that the next one waits for: pipelined requests must not overtake each other unless all are safe (RFC
 * 9112 section 9.3.2).
 */
function lastOf(underWay: ReadonlySet<Exchange>): Exchange | undefined {
  return underWay.size === 0 ? undefined : [...underWay].at(-1);
}
