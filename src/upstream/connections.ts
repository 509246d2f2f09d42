import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIP } from 'node:net';
import { createDirectAgent, createDirectTlsAgent } from './direct-agent.ts';

/** The registry behind Tidegate and the connections to it. */
export type Upstream = {
  readonly url: URL;
  /** The Authorization value for an upstream that requires a password; null for none. */
  readonly authorization: string | null;
  /** Kept connections: for GET and HEAD, which can be retried when a connection is stale. */
  readonly keepAliveAgent: HttpAgent;
  /** New connections: for writes, which a stale connection would lose, and for retries. */
  readonly freshAgent: HttpAgent;
  close(): void;
};

export type UpstreamOptions = {
  readonly url: string;
  /** PEM certificates to trust instead of the system's; null for the system's. */
  readonly ca: string | null;
  readonly username: string | null;
  readonly password: string | null;
  /** How much may be read at a time now, in bytes; left out: no limit. */
  readonly pieceBytes?: () => number;
};

/** How long an idle connection to upstream is kept, in milliseconds. */
const freeSocketTimeoutMs = 30_000;
/** How many idle connections to upstream are kept. */
const maxFreeSockets = 256;

/**
 * Creates the connection pools. An https upstream's certificate is always verified, against its own name and not the
 * client's Host.
 */
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
  const keepAliveAgent = secure
    ? createDirectTlsAgent({ ...pool, ...tls }, pieceBytes)
    : createDirectAgent(pool, pieceBytes);
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
