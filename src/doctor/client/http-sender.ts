import {
  Agent as HttpAgent,
  request as httpRequest,
  type AgentOptions as HttpAgentOptions,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { refuseUpgrade } from '../../system/unasked-upgrade.ts';
import { createTimeLimit } from '../../system/time-limit.ts';

/** A request; a body is sent in chunks. */
export type HttpRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Iterable<Buffer>;
  /** Leaves the body unfinished: only a server that does not wait for its end will answer. */
  readonly leavesBodyOpen?: true;
  /** The time limit, in milliseconds; 10 s if left out. */
  readonly limitMs?: number;
};

export type HttpAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** At most the first 64 KiB. */
  readonly body: Buffer;
  readonly ms: number;
  /** Whether it came over a reused connection. */
  readonly isReused: boolean;
};

/** Sends a request over a new connection, and returns the answer. @throws Error with a code when there is none. */
export type Send = (request: HttpRequest, signal: AbortSignal) => Promise<HttpAnswer>;

export type Sender = Send & {
  /** Sends requests over one connection, which is kept as long as the server keeps it, until `act` is done. */
  overOneConnection<T>(act: (send: Send) => Promise<T>): Promise<T>;
};

export type Origin = {
  readonly address: string;
  readonly port: number;
  /** For the Host header. */
  readonly authority: string;
  /** For https; null for http. */
  readonly tls: ConnectionOptions | null;
};

const defaultLimitMs = 10_000;
const maxBodyBytes = 65_536;

/** Creates a client for one server at one address. */
export function createSender(origin: Origin): Sender {
  const send: Send = (request, signal) => sendRequest(origin, request, null, signal);
  return Object.assign(send, {
    overOneConnection: async <T>(act: (send: Send) => Promise<T>): Promise<T> => {
      const agent = openAgent(origin, { keepAlive: true, maxSockets: 1 });
      try {
        return await act((request, signal) => sendRequest(origin, request, agent, signal));
      } finally {
        agent.destroy();
      }
    },
  });
}

/**
 * TLS options belong to the agent: since Node 22, a request's own `checkServerIdentity` prevents sharing its
 * connection.
 */
function openAgent({ tls }: Origin, options: HttpAgentOptions = {}): Agent | HttpAgent {
  return tls === null ? new HttpAgent(options) : new Agent({ ...tls, ...options });
}

function sendRequest(
  origin: Origin,
  { method, path, headers = {}, body = [], leavesBodyOpen, limitMs = defaultLimitMs }: HttpRequest,
  agent: Agent | HttpAgent | null,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const { address, port, authority, tls } = origin;
  const startedMs = performance.now();
  const limit = createTimeLimit(signal, limitMs);
  const options = {
    ...{ method, path, host: address, port, agent: agent ?? openAgent(origin), setHost: false },
    signal: limit.signal,
    headers: { Host: authority, 'User-Agent': 'tidegate-doctor', ...headers },
  };
  const outgoing = tls === null ? httpRequest(options) : httpsRequest(options);
  const answered = new Promise<HttpAnswer>((resolve, reject) => {
    let finish: (() => void) | undefined;
    outgoing.on('response', (incoming) => {
      const parts: Buffer[] = [];
      let length = 0;
      incoming.on('data', (part: Buffer) => {
        if (length < maxBodyBytes) parts.push(part);
        length += part.length;
      });
      finish = () => {
        resolve(toAnswer(incoming, parts, performance.now() - startedMs, outgoing.reusedSocket));
        if (!outgoing.writableFinished) outgoing.destroy();
      };
      incoming.on('end', finish);
      incoming.on('error', reject);
    });
    // A server that refuses a body may cut the connection after its answer, which then counts.
    outgoing.on('error', (error) => (finish === undefined ? reject(error) : finish()));
  });
  refuseUpgrade(outgoing);
  void writeBody(outgoing, body, leavesBodyOpen === true);
  return answered.finally(() => limit.end());
}

function toAnswer(incoming: IncomingMessage, parts: Buffer[], ms: number, isReused: boolean): HttpAnswer {
  const { statusCode = 0, headers } = incoming;
  return { status: statusCode, headers, body: Buffer.concat(parts), ms, isReused };
}

/** Stops when the answer comes early: a server that refuses a body need not read it. */
async function writeBody(
  outgoing: ClientRequest,
  body: Iterable<Buffer>,
  leavesOpen: boolean,
): Promise<void> {
  let isOver = false;
  let wake = () => {};
  const stop = () => {
    isOver = true;
    wake();
  };
  outgoing.once('response', stop);
  outgoing.once('close', stop);
  outgoing.on('drain', () => wake());
  const mayGoOn = () => !isOver;
  for (const part of body) {
    if (mayGoOn() && !outgoing.write(part)) await new Promise<void>((resolve) => (wake = resolve));
    if (!mayGoOn()) return;
  }
  if (!leavesOpen && mayGoOn()) outgoing.end();
}
