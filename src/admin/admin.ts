import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import type { Exposition } from '../telemetry/metrics/exposition.ts';
import { startInPieces } from '../http/paced-write.ts';
import { findAdminRefusal, type AdminNames } from './admin-request.ts';
import type { Readiness } from './readiness.ts';

/** The result of a reload. */
export type ReloadOutcome =
  | {
      readonly ok: true;
      /** Keys that changed, or whose files did, by path. */
      readonly changed: readonly string[];
      /** Keys that changed but stay as they were until the next start. */
      readonly needRestart: readonly string[];
    }
  /** Nothing was applied; the sentence says why. */
  | { readonly ok: false; readonly sentence: string };

export type AdminOptions = AdminNames & {
  /** 0: any free port. */
  readonly port: number;
  readonly readiness: () => Promise<Readiness>;
  readonly metrics: () => Promise<Exposition>;
  /** Without it there is no /reload. */
  readonly reload: (() => Promise<ReloadOutcome>) | undefined;
  readonly logger: Pick<Logger, 'error' | 'info' | 'warn'>;
};

/** The plain HTTP listener for operators: without a password, and never on the public port. */
export type AdminListener = {
  readonly address: { readonly host: string; readonly port: number };
  close(): void;
};

type Answer = { readonly status: number; readonly contentType: string; readonly body: string };
type Route = { readonly methods: readonly string[]; readonly answer: () => Promise<Answer> };

/** Its own small limits: whoever reaches it can use up nothing else. Times in milliseconds. */
const limits = {
  connections: 64,
  headerBytes: 8 * 1024,
  headerTimeoutMs: 5000,
  requestTimeoutMs: 10_000,
  silenceMs: 60_000,
  checkIntervalMs: 1000,
};

/** Opens the admin listener. Returns null, and logs it, if it cannot listen: Tidegate serves without it. */
export async function openAdminListener(options: AdminOptions): Promise<AdminListener | null> {
  const { host, port, logger } = options;
  const routes = createRoutes(options);
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headerTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
    },
    (req, res) => void handle(req, res),
  );
  server.maxConnections = limits.connections;
  server.setTimeout(limits.silenceMs, (socket) => socket.destroy());

  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    req.on('error', () => {});
    const answer = await choose(req).catch((error: unknown) => {
      logger.error({ err: error }, 'the admin listener failed');
      return toJson(500, { error: 'The admin listener failed.' });
    });
    const { status, contentType } = answer;
    const body = Buffer.from(answer.body);
    const route = routes.get(pathOf(req));
    res.shouldKeepAlive = false; // an unexpected body is not read, and the connection is not kept
    res.writeHead(status, {
      'Content-Type': contentType,
      'Content-Length': body.length,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      ...(status === 405 && route ? { Allow: route.methods.join(', ') } : {}),
    });
    if (req.method === 'HEAD') res.end();
    else startInPieces(res, body, { onPiece: () => {}, end: (last) => res.end(last) });
  };
  const choose = async (req: IncomingMessage): Promise<Answer> => {
    const refusal = findAdminRefusal(req, options);
    if (refusal !== null) return toJson(403, { error: refusal });
    const route = routes.get(pathOf(req));
    if (!route)
      return toJson(404, { error: `The admin listener has only ${[...routes.keys()].join(', ')}.` });
    if (!route.methods.includes(req.method ?? ''))
      return toJson(405, { error: `Use ${route.methods.join(' or ')} here.` });
    return route.answer();
  };

  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE' ? 'another program listens there already' : (error.code ?? error.message);
      logger.warn(
        { host, port, reason },
        'the admin listener cannot listen, and there are no health checks and metrics: choose another admin.host or admin.port, or null for none',
      );
      resolve(null);
    });
    server.listen({ host, port, ipv6Only: false }, () => {
      server.removeAllListeners('error');
      server.on('error', (error) => logger.error({ err: error }, 'the admin listener failed'));
      const { address, port: actual } = server.address() as AddressInfo;
      logger.info({ host: address, port: actual }, 'the admin listener is open');
      resolve({
        address: { host: address, port: actual },
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

function createRoutes({ readiness, metrics, reload }: AdminOptions): Map<string, Route> {
  const reads = ['GET', 'HEAD'];
  const routes = new Map<string, Route>([
    ['/livez', { methods: reads, answer: () => Promise.resolve(toJson(200, { status: 'ok' })) }],
    [
      '/readyz',
      {
        methods: reads,
        answer: async () => {
          const judged = await readiness();
          return toJson(judged.ready ? 200 : 503, judged);
        },
      },
    ],
    [
      '/metrics',
      {
        methods: reads,
        answer: async () => {
          const { contentType, text } = await metrics();
          return { status: 200, contentType, body: text };
        },
      },
    ],
  ]);
  if (reload)
    routes.set('/reload', {
      methods: ['POST'],
      answer: async () => {
        const outcome = await reload();
        return toJson(outcome.ok ? 200 : 422, outcome);
      },
    });
  return routes;
}

function toJson(status: number, value: object): Answer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

/** Without the query; an absolute-form target has no path here. */
function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? '';
}
