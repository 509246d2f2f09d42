import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { normalizeAddress } from '../http/client-address.ts';
import { headerValues } from '../http/raw-headers.ts';
import { announcesBody } from '../pipeline/framing.ts';
import { listen } from './listen.ts';
import { readProxyHeader } from './proxied-socket.ts';
import { findRedirect, type RedirectPlace } from './redirect-target.ts';

export type PlainListenerOptions = {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly place: RedirectPlace;
  /** Whether each connection begins with a header of the PROXY protocol, from a trusted proxy. */
  readonly proxyProtocol: boolean;
  readonly isTrusted: (address: string) => boolean;
};

/** The listener for plain HTTP: leads to https, answers a CA's checks (http-01), and does nothing else. */
export type PlainListener = {
  readonly port: number;
  /** Applies to later requests. */
  usePlace(place: RedirectPlace): void;
  /** Answers checks of a CA: the key authorization for each token. */
  useChallenges(authorizations: Readonly<Record<string, string>>): void;
  close(): void;
};

/** Its own small limits: whoever floods it takes nothing from the registry. Times in milliseconds. */
const limits = {
  connections: 256,
  headerBytes: 8 * 1024,
  requestTimeoutMs: 5000,
  checkIntervalMs: 1000,
};
/** RFC 8555 section 8.3. */
const challengePath = '/.well-known/acme-challenge/';

type Answer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
};

/** @throws OperatorError when it cannot listen on the address. */
export async function openPlainListener(options: PlainListenerOptions): Promise<PlainListener> {
  let { place } = options;
  let authorizations: ReadonlyMap<string, string> = new Map();
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.requestTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      keepAlive: false,
      requireHostHeader: false,
    },
    (req, res) => send(req, res, choose(req)),
  );
  const choose = (req: IncomingMessage): Answer => {
    const { method = '', url = '', rawHeaders } = req;
    if (method !== 'GET' && method !== 'HEAD')
      return { status: 405, headers: { Allow: 'GET, HEAD' }, body: 'Use https.\n' };
    if (announcesBody(req)) return { status: 400, body: 'Send no body here.\n' };
    const hosts = headerValues(rawHeaders, 'host');
    if (hosts.length > 1) return { status: 400, body: 'Send one Host.\n' };
    if (url.startsWith(challengePath)) {
      const body = authorizations.get(url.slice(challengePath.length));
      return body === undefined
        ? { status: 404, body: 'There is no such challenge.\n' }
        : { status: 200, headers: { 'Content-Type': 'application/octet-stream' }, body };
    }
    const location = findRedirect(hosts[0], url, place);
    return location === null
      ? { status: 400, body: 'Use https.\n' }
      : { status: 301, headers: { Location: location }, body: 'Use https.\n' };
  };
  const refuse = (req: IncomingMessage, res: ServerResponse) =>
    send(req, res, { status: 400, body: 'Send no body here.\n' });
  server.on('checkContinue', refuse);
  server.on('checkExpectation', refuse);
  server.on('connect', (_req, socket: Socket) => socket.destroy());
  server.on('clientError', (_error, socket: Socket) => {
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    else socket.destroy();
  });
  acceptFew(server, options);

  const { port } = await listen(server, options.host, options.port, 'listen.httpPort');
  return {
    port,
    usePlace: (next) => {
      place = next;
    },
    useChallenges: (next) => {
      authorizations = new Map(Object.entries(next));
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Takes over what accepts connections: a CA's check must get in while others keep all of them busy. */
function acceptFew(server: Server, { proxyProtocol, isTrusted }: PlainListenerOptions): void {
  const starts = server.listeners('connection') as ((socket: Socket) => void)[];
  const open = new Set<Socket>();
  const start = (socket: Socket) => {
    for (const each of starts) each.call(server, socket);
  };
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    // Whatever it does; half a request, or an answer that nobody reads.
    const ending = setTimeout(() => socket.destroy(), 2 * limits.requestTimeoutMs).unref();
    socket.once('close', () => clearTimeout(ending));
    const [oldest] = open;
    if (open.size > limits.connections) oldest?.destroy();
    if (!proxyProtocol) start(socket);
    else if (!isTrusted(normalizeAddress(socket.remoteAddress ?? ''))) socket.destroy();
    else
      readProxyHeader(socket, limits.requestTimeoutMs, (header) => {
        if (header === null) socket.on('error', () => {}).destroy();
        else start(socket);
      });
  });
}

function send(
  { method }: IncomingMessage,
  res: ServerResponse,
  { status, headers = {}, body }: Answer,
): void {
  res.shouldKeepAlive = false;
  res.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  res.end(method === 'HEAD' ? undefined : body);
}
