import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { until } from './redis.ts';

export type ReceivedAlert = {
  readonly text: string;
  readonly alert: string;
  /** Only of alerts about a route. */
  readonly upstream?: string;
  readonly state: string;
  readonly incident: string;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly host: string;
};

/** A real server on loopback that receives alerts. */
export type Webhook = {
  readonly port: number;
  /** The accepted alerts, in order. */
  readonly alerts: readonly ReceivedAlert[];
  /** All attempts: method, path and type. */
  readonly attempts: readonly string[];
  /** Waits until so many have been accepted. */
  taken(count: number): Promise<readonly ReceivedAlert[]>;
  close(): Promise<void>;
};

/** @param answers its statuses for the first attempts, 200 for later ones; 0: no answer */
export async function startWebhook(
  answers: readonly number[] = [],
  tls?: { key: string; cert: string },
): Promise<Webhook> {
  const alerts: ReceivedAlert[] = [];
  const attempts: string[] = [];
  const handle = (req: IncomingMessage, res: ServerResponse) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const status = answers[attempts.length] ?? 200;
      attempts.push(`${req.method ?? ''} ${req.url ?? ''} ${req.headers['content-type'] ?? ''}`);
      if (status === 0) return;
      if (status === 200) alerts.push(JSON.parse(Buffer.concat(chunks).toString()) as ReceivedAlert);
      res.writeHead(status, { Location: '/elsewhere' });
      res.end();
    });
  };
  const server = tls ? createHttpsServer(tls, handle) : createHttpServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    alerts,
    attempts,
    taken: async (count) => {
      await until(`${count} alerts have come`, () => alerts.length >= count, 30_000);
      return alerts;
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
