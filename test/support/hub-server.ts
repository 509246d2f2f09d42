import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How the hub behaves; see hub.ts. */
export type HubMood = {
  /** Refuses connections, and closes those that are open. */
  readonly away: boolean;
  /** Accepts requests and answers none of them until this ends. */
  readonly silent: boolean;
  /** The status of every answer; 429 has what Docker Hub sends with it. */
  readonly refusal: 401 | 429 | 500 | null;
  /** Which requests are refused; `pulls`, as Docker Hub does: GET of a manifest. */
  readonly refuses: 'all' | 'token' | 'content' | 'pulls';
  /** What is wrong with manifests and blobs: other bytes of the same length, another type, only half of the bytes. */
  readonly lie: 'bytes' | 'type' | 'half' | null;
};

export type HubManifest = { readonly repository: string; readonly tag: string | null; readonly type: string };

/** A request as the hub saw it; `name` is that of the credentials behind the token, null without any. */
export type HubRequest = { readonly method: string; readonly url: string; readonly name: string | null };

export type HubOrder =
  | { readonly order: 'blob'; readonly bytes: Uint8Array }
  | ({ readonly order: 'manifest'; readonly bytes: Uint8Array } & HubManifest)
  | { readonly order: 'mood'; readonly mood: Partial<HubMood> }
  | { readonly order: 'requests' };

type Content = { readonly type: string; readonly bytes: Buffer; readonly digest: string };
type Token = { readonly name: string | null; readonly scope: string };

export const digestOf = (bytes: string | Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const emptyIndex = 'application/vnd.oci.image.index.v1+json';
const rateLimit = '100;w=21600';
const messages: Readonly<Record<number, [code: string, message: string]>> = {
  401: ['UNAUTHORIZED', 'authentication required'],
  404: ['MANIFEST_UNKNOWN', 'manifest unknown'],
  429: [
    'TOOMANYREQUESTS',
    'You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit',
  ],
  500: ['UNKNOWN', 'internal error'],
};

/** Other bytes of the same length; of a manifest, another with the same meaning. */
function falsify(bytes: Buffer): Buffer {
  const text = bytes.toString();
  if (!text.startsWith('{"schemaVersion":2,')) return Buffer.from(bytes.map((byte) => byte ^ 1));
  return Buffer.from(text.replace('{"schemaVersion":2,', '{').replace(/\}$/, ',"schemaVersion":2}'));
}

/** Serves orders of the parent process. @param user whose credentials the token endpoint takes, `name:password` */
async function serveHub(user: string): Promise<void> {
  const blobs = new Map<string, Buffer>();
  /** By repository, then by digest or tag. */
  const manifests = new Map<string, Map<string, Content>>();
  const tokens = new Map<string, Token>();
  let requests: HubRequest[] = [];
  let mood: HubMood = { away: false, silent: false, refusal: null, refuses: 'all', lie: null };
  let waiting: (() => void)[] = [];

  const fail = (res: ServerResponse, status: number, headers: Record<string, string> = {}) => {
    const [code = 'UNKNOWN', message = ''] = messages[status] ?? [];
    res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    return res.end(JSON.stringify({ errors: [{ code, message }] }));
  };
  const challenge = (req: IncomingMessage, scope: string | null) => ({
    'WWW-Authenticate': `Bearer realm="http://${req.headers.host}/token",service="registry.docker.io"${scope === null ? '' : `,scope="${scope}"`}`,
  });

  const giveToken = (req: IncomingMessage, res: ServerResponse, url: URL) => {
    const given = /^Basic (.*)$/.exec(req.headers.authorization ?? '')?.[1];
    const credentials = given === undefined ? null : Buffer.from(given, 'base64').toString();
    requests.push({ method: req.method ?? '', url: req.url ?? '', name: credentials?.split(':')[0] ?? null });
    if (credentials !== null && credentials !== user) return fail(res, 401);
    const token = randomBytes(16).toString('hex');
    tokens.set(token, {
      name: credentials?.split(':')[0] ?? null,
      scope: url.searchParams.getAll('scope').join(' '),
    });
    res.writeHead(200, { 'Content-Type': 'application/json' });
    return res.end(
      JSON.stringify({ token, access_token: token, expires_in: 300, issued_at: new Date().toISOString() }),
    );
  };

  const send = (req: IncomingMessage, res: ServerResponse, { type, bytes, digest }: Content) => {
    const sent = mood.lie === 'bytes' ? falsify(bytes) : bytes;
    res.writeHead(200, {
      'Content-Type': mood.lie === 'type' ? 'text/html' : type,
      'Content-Length': sent.length,
      'Docker-Content-Digest': digest,
      'RateLimit-Limit': rateLimit,
      'RateLimit-Remaining': '42;w=21600',
    });
    if (req.method === 'HEAD') return res.end();
    if (mood.lie !== 'half') return res.end(sent);
    res.write(sent.subarray(0, sent.length / 2), () => res.destroy());
    return res;
  };

  const serveContent = (req: IncomingMessage, res: ServerResponse, url: URL) => {
    const found = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(url.pathname);
    const [, repository = '', kind, reference = ''] = found ?? [];
    const bearer = /^Bearer (.*)$/.exec(req.headers.authorization ?? '')?.[1] ?? '';
    const token = tokens.get(bearer);
    requests.push({ method: req.method ?? '', url: req.url ?? '', name: token?.name ?? null });
    const isPull = kind === 'manifests' && req.method === 'GET';
    if (mood.refusal !== null && (isPull || mood.refuses !== 'pulls') && mood.refuses !== 'token') {
      return refuse(req, res);
    }
    const scope = `repository:${repository}:pull`;
    if (!token?.scope.split(' ').includes(scope)) return fail(res, 401, challenge(req, scope));
    const known = manifests.get(repository);
    if (kind === 'manifests') {
      const content = known?.get(reference);
      return content === undefined ? fail(res, 404) : send(req, res, content);
    }
    if (kind === 'blobs') {
      const bytes = blobs.get(reference);
      if (bytes === undefined) return fail(res, 404);
      return send(req, res, { type: 'application/octet-stream', bytes, digest: reference });
    }
    if (kind === 'tags' && known !== undefined) {
      const tags = [...known.keys()].filter((name) => !name.includes(':')).sort();
      res.writeHead(200, { 'Content-Type': 'application/json' });
      return res.end(JSON.stringify({ name: repository, tags }));
    }
    if (kind === 'referrers') {
      const all = [...(known?.values() ?? [])].flatMap(({ bytes, type, digest }) => {
        const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
        return subject?.digest === reference ? [{ mediaType: type, digest, size: bytes.length }] : [];
      });
      res.writeHead(200, { 'Content-Type': emptyIndex });
      return res.end(JSON.stringify({ schemaVersion: 2, mediaType: emptyIndex, manifests: all }));
    }
    return fail(res, 404);
  };

  const refuse = (req: IncomingMessage, res: ServerResponse) => {
    const status = mood.refusal ?? 500;
    if (status === 401) return fail(res, 401, challenge(req, null));
    if (status !== 429) return fail(res, status);
    return fail(res, 429, {
      'Retry-After': '3600',
      'RateLimit-Limit': rateLimit,
      'RateLimit-Remaining': '0;w=21600',
      'Docker-RateLimit-Source': '192.0.2.7',
    });
  };

  const server = createServer((req, res) => {
    const answer = (): unknown => {
      const url = new URL(req.url ?? '/', 'http://hub');
      if (url.pathname === '/token') {
        const isRefused = mood.refusal !== null && ['all', 'token'].includes(mood.refuses);
        return isRefused ? refuse(req, res) : giveToken(req, res, url);
      }
      if (url.pathname !== '/v2/') return serveContent(req, res, url);
      if (mood.refusal !== null && mood.refuses === 'all') return refuse(req, res);
      return fail(res, 401, challenge(req, null));
    };
    if (mood.silent) waiting.push(answer);
    else answer();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const change = async (changes: Partial<HubMood>) => {
    const before = mood;
    mood = { ...mood, ...changes };
    if (before.silent && !mood.silent) {
      for (const answer of waiting) answer();
      waiting = [];
    }
    if (before.away === mood.away) return;
    if (mood.away) {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    } else {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    }
  };

  const carryOut = async (order: HubOrder): Promise<unknown> => {
    if (order.order === 'mood') return change(order.mood);
    if (order.order === 'requests') {
      const seen = requests;
      requests = [];
      return seen;
    }
    const bytes = Buffer.from(order.bytes);
    const digest = digestOf(bytes);
    if (order.order === 'blob') {
      blobs.set(digest, bytes);
    } else {
      const content = { type: order.type, bytes, digest };
      const known = manifests.get(order.repository) ?? new Map<string, Content>();
      manifests.set(order.repository, known);
      known.set(digest, content);
      if (order.tag !== null) known.set(order.tag, content);
    }
    return digest;
  };
  process.on('message', (order: HubOrder) => void carryOut(order).then((done) => process.send?.({ done })));
  process.on('disconnect', () => process.exit());
  process.send?.({ done: port });
}

const [, , user] = process.argv;
if (process.send !== undefined && user !== undefined) await serveHub(user);
