import type { Agent, IncomingMessage, ServerResponse } from 'node:http';
import type { Stream } from 'node:stream';
import httpProxy from 'http-proxy';
import { silenceDeprecation } from '../system/silence-deprecation.ts';
import type { RequestBody } from './body/request-body.ts';
import type { RequestEvents } from './upstream-request.ts';

/** Opens a client's request to upstream on http-proxy. */
export type OpenProxied = (
  client: { readonly req: IncomingMessage; readonly res: ServerResponse },
  body: Pick<RequestBody, 'pipe'>,
  agent: Agent,
  events: RequestEvents,
) => void;

/**
 * Where a request has its events: http-proxy's own events name the request alone. Not in a WeakMap: V8's young
 * collections take its values for alive, and these hold the request and its answer.
 */
const eventsKey = Symbol('events');

type WatchedRequest = IncomingMessage & { [eventsKey]?: RequestEvents };

/** http-proxy's list of steps, which its types leave out. */
type WebPass = (...args: unknown[]) => unknown;

/**
 * Sets up http-proxy, which only opens the upstream request and pipes the body. Everything else that it would do is
 * replaced, because headers, paths, framing, errors and early ends must come through exactly.
 */
export function createProxiedRequests(url: URL): OpenProxied {
  silenceDeprecation('DEP0060'); // util._extend, which http-proxy calls
  const proxy = httpProxy.createProxyServer({
    target: {
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
    } as httpProxy.ProxyTarget & object,
    selfHandleResponse: true,
    // The raw path is set once there is a connection: http-proxy would turn `//` and `\` into `/`.
    toProxy: true,
    ignorePath: true,
  });
  // Only the streaming step. Another step, deleteLength, gives a DELETE with a chunked body a content-length of 0, so
  // that the body becomes the next request on the connection.
  const steps = proxy as unknown as { webPasses: WebPass[] };
  steps.webPasses = steps.webPasses.filter((pass) => pass.name === 'stream');

  const eventsOf = (req: WatchedRequest) => req[eventsKey];
  proxy.on('proxyReq', (request, req) => eventsOf(req)?.onSocket(request));
  proxy.on('proxyRes', (response, req) => eventsOf(req)?.onResponse(response));
  // Emitted instead of the callback's error if the client has left.
  proxy.on('econnreset', (error, req) => eventsOf(req)?.onError(error));

  return ({ req, res }, body, agent, events) => {
    req.headers = {}; // http-proxy would send these, and Node's constructor would reverse the fields of an object
    (req as WatchedRequest)[eventsKey] = events;
    const buffer = body as unknown as Stream; // it only calls its pipe
    proxy.web(req, res, { agent, buffer }, events.onError);
  };
}
