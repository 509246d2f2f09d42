import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIP } from 'node:net';
import { createDirectAgent } from './direct-agent.ts';

/** The registry behind Tidegate and the connections to it. */
export type Upstream = {
  readonly url: URL;
  /** A whole Authorization value for an upstream that has a password of its own; null for none. */
  readonly authorization: string | null;
  /** Connections kept open and used again: for GET and HEAD, which can be tried once more when one turns out stale. */
  readonly keepAliveAgent: HttpAgent;
  /** A new connection each time: for writes, which must not be lost to a stale one, and for second tries. */
  readonly freshAgent: HttpAgent;
  close(): void;
};

export type UpstreamOptions = {
  readonly url: string;
  /** PEM certificates to trust instead of the system's; null for the system's. */
  readonly ca: string | null;
  readonly username: string | null;
  readonly password: string | null;
  /** How much may be read at a time just now, in bytes; left out: as much as there is. */
  readonly pieceBytes?: () => number;
};

/** How long an unused connection to upstream is kept, in milliseconds. */
const freeSocketTimeoutMs = 30_000;
/** How many unused connections to upstream are kept. */
const maxFreeSockets = 256;

/** Builds the connection pools. Certificates of an https upstream are always verified, against its own name and not the client's Host. */
export function createUpstream({
  url: urlText,
  ca,
  username,
  password,
  pieceBytes,
}: UpstreamOptions): Upstream {
  const url = new URL(urlText);
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const tls = {
    ...(ca === null ? {} : { ca }),
    servername: isIP(hostname) === 0 ? hostname : '',
    rejectUnauthorized: true,
  };
  const pool = { keepAlive: true, timeout: freeSocketTimeoutMs, maxFreeSockets, scheduling: 'lifo' as const };
  const secure = url.protocol === 'https:';
  const keepAliveAgent = secure ? new HttpsAgent({ ...pool, ...tls }) : createDirectAgent(pool, pieceBytes);
  const freshAgent = secure
    ? new HttpsAgent({ keepAlive: false, ...tls })
    : new HttpAgent({ keepAlive: false });
  return {
    url,
    authorization:
      username === null || password === null
        ? null
        : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
    keepAliveAgent,
    freshAgent,
    close: () => {
      keepAliveAgent.destroy();
      freshAgent.destroy();
    },
  };
}
