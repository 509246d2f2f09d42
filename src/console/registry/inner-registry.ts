import { setMaxListeners } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AnswerAs } from '../../pipeline/answer-console.ts';
import type { Authentication } from '../../pipeline/authenticate/authenticate.ts';
import { openExchange, type Exchange, type RequestConnection } from '../../pipeline/exchange.ts';
import { isRegistryPath } from '../../registry/operation.ts';
import { parseTarget } from '../../registry/target.ts';
import { CollectedBytes } from '../../system/collected-bytes.ts';
import { ConsoleError } from '../console-error.ts';
import { createMemoryPair } from './memory-pair.ts';
import type { RegistryAnswer, RegistryClient } from './registry-client.ts';
import { createRequestGate } from './request-gate.ts';

/** Whose rights a page has, and how requests are answered with them. */
export type PageOf = {
  readonly exchange: Exchange;
  readonly authentication: Authentication;
  readonly answerAs: AnswerAs;
};

/** The registry as the pages of the console see it: requests within this process, answered as those of clients are. */
export type InnerRegistry = {
  /** Begins a page, and its time. */
  open(page: PageOf): RegistryClient;
};

export type InnerRegistryOptions = {
  /** Requests at once, of all pages. */
  readonly maxAtOnce: number;
  /** Bytes of answers that all pages hold. */
  readonly maxBytes: number;
  /** How long a page may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly now: () => number;
};

/** How many requests one page may make. */
const requestsOfPage = 200;
/** How much it may read in all, in bytes. */
const bytesOfPage = 16 * 1024 * 1024;
/** How many requests may wait, for each that may be made at once. */
const waitingPerPlace = 16;
const usualMaxBytes = 4 * 1024 * 1024;

/** Bodies and principals are known here: there is nothing that a connection would have to limit. */
const innerConnection: RequestConnection = {
  prove: () => {},
  readBody: () => {},
  leaveBody: () => {},
  isCostly: () => false,
};
const noProxies = { isTrusted: () => false, resolve: (peer: string) => peer };

export function createInnerRegistry(options: InnerRegistryOptions): InnerRegistry {
  const { maxAtOnce, timeoutMs, now } = options;
  const gate = createRequestGate({ atOnce: maxAtOnce, waiting: waitingPerPlace * maxAtOnce });
  let heldBytes = 0;
  /** The page of each connection: nothing that a header says decides whose rights a request has. */
  const pages = new WeakMap<Duplex, PageOf>();
  // It listens nowhere. A page's own time bounds each request.
  const server = createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 });
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    const page = pages.get(req.socket);
    if (page === undefined) {
      req.socket.destroy();
      return;
    }
    const inner = openExchange(req, res, {
      addresses: noProxies,
      connection: innerConnection,
      expectation: 'none',
      peerAddress: page.exchange.clientAddress,
      nowMs: now(),
    });
    void page.answerAs(inner, page.authentication);
  });

  const connect = (page: PageOf): Duplex => {
    const [client, served] = createMemoryPair();
    pages.set(served, page);
    server.emit('connection', served);
    return client;
  };

  return {
    open: (page) => {
      const ending = new AbortController();
      const { signal } = ending;
      setMaxListeners(0, signal); // one for each request that waits
      const timer = setTimeout(() => ending.abort(new ConsoleError('registryDown', 'timeout')), timeoutMs);
      let asked = 0;
      let readBytes = 0;
      const end = () => {
        clearTimeout(timer);
        heldBytes -= readBytes;
        ending.abort(new ConsoleError('internal', 'client-left'));
      };
      // One who left before the page asked anything does not leave again.
      if (page.exchange.res.closed) end();
      else page.exchange.res.once('close', end);
      const take = (bytes: number) => {
        if (readBytes + bytes > bytesOfPage) throw new ConsoleError('tooMuch', 'page-bytes');
        if (heldBytes + bytes > options.maxBytes) throw new ConsoleError('busy', 'console-bytes');
        // What arrives when the page has ended is dropped.
        if (signal.aborted) return;
        readBytes += bytes;
        heldBytes += bytes;
      };
      return {
        ask: async (method, path, { accept = [], maxBytes = usualMaxBytes } = {}) => {
          asked += 1;
          if (asked > requestsOfPage) throw new ConsoleError('tooMuch', 'page-requests');
          checkPath(path);
          const leave = await gate.enter(signal);
          try {
            const headers = headersFor(page.exchange, accept);
            return await ask({ method, path, headers, maxBytes, take, signal, socket: () => connect(page) });
          } finally {
            leave();
          }
        },
      };
    },
  };
}

/** @throws ConsoleError for a path that no client could ask for */
function checkPath(path: string): void {
  try {
    if (isRegistryPath(parseTarget(path).path)) return;
  } catch {}
  throw new ConsoleError('badRequest');
}

function headersFor({ publicName, id }: Exchange, accept: readonly string[]): Record<string, string> {
  return {
    Host: publicName.authority ?? 'localhost',
    'User-Agent': 'Tidegate console',
    'X-Request-Id': id,
    ...(accept.length > 0 && { Accept: accept.join(', ') }),
  };
}

type Asked = {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly maxBytes: number;
  /** Counts bytes that are kept. @throws ConsoleError when there is no room for them */
  readonly take: (bytes: number) => void;
  readonly signal: AbortSignal;
  readonly socket: () => Duplex;
};

/** Sends one request and reads its answer. @throws ConsoleError */
function ask({ method, path, headers, maxBytes, take, signal, socket }: Asked): Promise<RegistryAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ method, path, headers, createConnection: socket, signal });
    const fail = (error: Error) => {
      request.destroy();
      reject(error);
    };
    request.on('error', () => fail(broken(signal)));
    request.on('response', (response) => {
      const tooLarge = new ConsoleError('registryFailed', 'answer-too-large');
      if (method !== 'HEAD' && Number(response.headers['content-length'] ?? 0) > maxBytes) {
        fail(tooLarge);
        return;
      }
      const body = new CollectedBytes();
      response.on('data', (bytes: Buffer) => {
        try {
          if (body.length + bytes.length > maxBytes) throw tooLarge;
          take(bytes.length);
          body.add(bytes);
        } catch (error) {
          fail(error as ConsoleError);
        }
      });
      response.on('error', () => fail(broken(signal)));
      response.on('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: joinHeaders(response.headers),
          body: body.read(),
        });
      });
    });
    request.end();
  });
}

function broken({ aborted, reason }: AbortSignal): Error {
  return aborted ? (reason as Error) : new ConsoleError('registryFailed', 'answer-broke-off');
}

function joinHeaders(headers: IncomingMessage['headers']): RegistryAnswer['headers'] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
}
