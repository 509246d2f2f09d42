import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerValues } from '../http/raw-headers.ts';
import type { Exchange, Expectation } from '../pipeline/exchange.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { OpenConnections } from './open-connections.ts';

/** Hands the requests of all connections to the pipeline that is in service. */
export type RequestHandler = {
  /** To be called with each request as its head has come. */
  handle(req: IncomingMessage, res: ServerResponse, expectation: Expectation): void;
  /** For the requests from now on. Calls back when the last request of the one before has been answered. */
  usePipeline(pipeline: Pipeline, whenIdle: () => void): void;
};

/** A pipeline, and how many of its requests are under way. */
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
      if (!socket.writable) return; // it came as the connection was ended: its client sees that it was not acted upon
      res.shouldKeepAlive = false;
    }
    // Node drops what has come with such a request and stands behind it, so that nothing after it on the connection is to be believed.
    if (headerValues(req.rawHeaders, 'upgrade').length > 0) res.shouldKeepAlive = false;
    const last = lastOf(underWay);
    let entered = enter();
    const turn =
      last &&
      new Promise<Pipeline>((resolve) => {
        // What follows an answer with Connection: close must not be acted upon (RFC 9112 section 9.6); the socket's close ends it.
        last.res.once('close', () => {
          if (!socket.writable) return;
          // What has waited begins now, by what holds now.
          leave(entered);
          entered = enter();
          resolve(entered.pipeline);
        });
      });
    const { peerAddress } = client.accepted;
    const exchange = entered.pipeline.handle(req, res, {
      ...{ connection, expectation, turn, peerAddress },
      isDraining: connections.isClosing,
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

/** The request that the next one waits for: pipelined requests may not overtake each other unless all are safe (RFC 9112 section 9.3.2). */
function lastOf(underWay: ReadonlySet<Exchange>): Exchange | undefined {
  return underWay.size === 0 ? undefined : [...underWay].at(-1);
}
