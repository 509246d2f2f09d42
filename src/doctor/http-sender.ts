import {
  request as httpRequest,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { request as httpsRequest, type Agent } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { createTimeLimit } from './time-limit.ts';

/** What is asked; a body given as parts is sent in chunks. */
export type AskedRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Iterable<Buffer>;
  /** Does not end the body: only a server that does not wait for the end will answer. */
  readonly leavesBodyOpen?: true;
  /** Keeps the connection; without one each request has its own. */
  readonly agent?: Agent;
  /** How long the whole may take, in milliseconds; 10 s when left out. */
  readonly limitMs?: number;
};

export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** At most the first 64 KiB. */
  readonly body: Buffer;
  readonly ms: number;
  /** Whether it came over a connection that had been used before. */
  readonly isReused: boolean;
};

/** Asks and gives the answer. @throws Error with a code when there is none. */
export type Send = (request: AskedRequest, signal: AbortSignal) => Promise<Answer>;

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

/** Builds a client for one server, over connections to one address. */
export function createSender({ address, port, authority, tls }: Origin): Send {
  return (
    { method, path, headers = {}, body = [], leavesBodyOpen, agent, limitMs = defaultLimitMs },
    signal,
  ) => {
    const startedMs = performance.now();
    const limit = createTimeLimit(signal, limitMs);
    const options = {
      ...tls,
      ...{ method, path, host: address, port, agent: agent ?? false, setHost: false },
      signal: limit.signal,
      headers: { Host: authority, 'User-Agent': 'tidegate-doctor', ...headers },
    };
    const outgoing = tls === null ? httpRequest({ ...options, agent: false }) : httpsRequest(options);
    const answered = new Promise<Answer>((resolve, reject) => {
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
      // A server that refuses a body may cut the connection after its answer: then the answer counts.
      outgoing.on('error', (error) => (finish === undefined ? reject(error) : finish()));
    });
    void writeBody(outgoing, body, leavesBodyOpen === true);
    return answered.finally(() => limit.end());
  };
}

function toAnswer(incoming: IncomingMessage, parts: Buffer[], ms: number, isReused: boolean): Answer {
  const { statusCode = 0, headers } = incoming;
  return { status: statusCode, headers, body: Buffer.concat(parts), ms, isReused };
}

/** Ends early when the answer comes early: a server that refuses a body need not take it in. */
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
