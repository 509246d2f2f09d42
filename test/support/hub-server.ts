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

/** A request for `/v2/REPOSITORY/KIND/REFERENCE`, or for another path under `/v2/` without them. */
type Target = { readonly repository: string; readonly kind: string; readonly reference: string };

const indexType = 'application/vnd.oci.image.index.v1+json';
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

export const digestOf = (bytes: string | Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function fail(res: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  const [code = 'UNKNOWN', message = ''] = messages[status] ?? [];
  sendJson(res, { errors: [{ code, message }] }, status, headers);
}

function sendJson(
  res: ServerResponse,
  value: unknown,
  status = 200,
  headers: Record<string, string> = {},
): void {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  res.end(JSON.stringify(value));
}

function challenge(req: IncomingMessage, res: ServerResponse, scope: string | null): void {
  const realm = `Bearer realm="http://${req.headers.host}/token",service="registry.docker.io"`;
  fail(res, 401, { 'WWW-Authenticate': scope === null ? realm : `${realm},scope="${scope}"` });
}

function refuse(req: IncomingMessage, res: ServerResponse, status: 401 | 429 | 500): void {
  if (status === 401) challenge(req, res, null);
  else if (status === 500) fail(res, status);
  else
    fail(res, status, {
      'Retry-After': '3600',
      'RateLimit-Limit': rateLimit,
      'RateLimit-Remaining': '0;w=21600',
      'Docker-RateLimit-Source': '192.0.2.7',
    });
}

/** Sends a manifest or a blob, or a lie. */
function send(req: IncomingMessage, res: ServerResponse, content: Content, lie: HubMood['lie']): void {
  const bytes = lie === 'bytes' ? falsify(content.bytes) : content.bytes;
  res.writeHead(200, {
    'Content-Type': lie === 'type' ? 'text/html' : content.type,
    'Content-Length': bytes.length,
    'Docker-Content-Digest': content.digest,
    'RateLimit-Limit': rateLimit,
    'RateLimit-Remaining': '42;w=21600',
  });
  if (req.method === 'HEAD') res.end();
  else if (lie !== 'half') res.end(bytes);
  else res.write(bytes.subarray(0, bytes.length / 2), () => res.destroy());
}

/** Other bytes of the same length; of a manifest, another with the same meaning. */
function falsify(bytes: Buffer): Buffer {
  const text = bytes.toString();
  if (!text.startsWith('{"schemaVersion":2,')) return Buffer.from(bytes.map((byte) => byte ^ 1));
  return Buffer.from(text.replace('{"schemaVersion":2,', '{').replace(/\}$/, ',"schemaVersion":2}'));
}

/** What the hub has. */
function createContents() {
  const blobs = new Map<string, Buffer>();
  /** By repository, then by digest or tag. */
  const manifests = new Map<string, Map<string, Content>>();
  const inRepository = (repository: string) => manifests.get(repository) ?? new Map<string, Content>();
  return {
    addBlob: (bytes: Buffer) => {
      const digest = digestOf(bytes);
      blobs.set(digest, bytes);
      return digest;
    },
    addManifest: ({ repository, tag, type }: HubManifest, bytes: Buffer) => {
      const content = { type, bytes, digest: digestOf(bytes) };
      const known = inRepository(repository).set(content.digest, content);
      manifests.set(repository, tag === null ? known : known.set(tag, content));
      return content.digest;
    },
    find: ({ repository, kind, reference }: Target): Content | undefined => {
      if (kind === 'manifests') return inRepository(repository).get(reference);
      const bytes = kind === 'blobs' ? blobs.get(reference) : undefined;
      return bytes && { type: 'application/octet-stream', bytes, digest: reference };
    },
    listTags: (repository: string) =>
      [...inRepository(repository).keys()].filter((name) => !name.includes(':')).sort(),
    listReferrers: ({ repository, reference }: Target) => {
      const all = [...inRepository(repository).values()].filter(({ bytes }) => {
        const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
        return subject?.digest === reference;
      });
      return all.map(({ bytes, type, digest }) => ({ mediaType: type, digest, size: bytes.length }));
    },
  };
}

/** Gives tokens to anyone, and to the user by credentials. */
function createTokens(user: string) {
  const given = new Map<string, { readonly name: string | null; readonly scope: string }>();
  const readName = (req: IncomingMessage) => {
    const basic = /^Basic (.*)$/.exec(req.headers.authorization ?? '')?.[1];
    return basic === undefined ? null : Buffer.from(basic, 'base64').toString();
  };
  return {
    nameOf: (req: IncomingMessage) => readName(req)?.split(':')[0] ?? null,
    find: (req: IncomingMessage) => given.get((req.headers.authorization ?? '').replace('Bearer ', '')),
    give: (req: IncomingMessage, res: ServerResponse, url: URL) => {
      const credentials = readName(req);
      if (credentials !== null && credentials !== user) {
        fail(res, 401);
        return;
      }
      const token = randomBytes(16).toString('hex');
      const name = credentials?.split(':')[0] ?? null;
      given.set(token, { name, scope: url.searchParams.getAll('scope').join(' ') });
      const issued = { expires_in: 300, issued_at: new Date().toISOString() };
      sendJson(res, { token, access_token: token, ...issued });
    },
  };
}

/** Answers requests as its mood is. */
function createHub(user: string) {
  const contents = createContents();
  const tokens = createTokens(user);
  const requests: HubRequest[] = [];
  const hub = {
    contents,
    mood: { away: false, silent: false, refusal: null, refuses: 'all', lie: null } as HubMood,
    takeRequests: () => requests.splice(0),
    answer: (req: IncomingMessage, res: ServerResponse) => {
      const url = new URL(req.url ?? '/', 'http://hub');
      const { refusal, refuses } = hub.mood;
      const isToken = url.pathname === '/token';
      const isPull = req.method === 'GET' && url.pathname.includes('/manifests/');
      const isRefused = { all: true, token: isToken, content: isContent(url), pulls: isPull }[refuses];
      const name = isToken ? tokens.nameOf(req) : (tokens.find(req)?.name ?? null);
      if (isToken || isContent(url)) requests.push({ method: req.method ?? '', url: req.url ?? '', name });
      if (refusal !== null && isRefused) refuse(req, res, refusal);
      else if (isToken) tokens.give(req, res, url);
      else if (isContent(url)) serve(req, res, parseTarget(url));
      else challenge(req, res, null);
    },
  };
  const serve = (req: IncomingMessage, res: ServerResponse, target: Target) => {
    const scope = `repository:${target.repository}:pull`;
    if (tokens.find(req)?.scope.split(' ').includes(scope) !== true) {
      challenge(req, res, scope);
      return;
    }
    const tags = target.kind === 'tags' ? contents.listTags(target.repository) : [];
    const content = contents.find(target);
    if (content !== undefined) send(req, res, content, hub.mood.lie);
    else if (tags.length > 0) sendJson(res, { name: target.repository, tags });
    else if (target.kind !== 'referrers') fail(res, 404);
    else {
      const index = { schemaVersion: 2, mediaType: indexType, manifests: contents.listReferrers(target) };
      sendJson(res, index, 200, { 'Content-Type': indexType });
    }
  };
  return hub;
}

const isContent = ({ pathname }: URL): boolean => pathname.startsWith('/v2/') && pathname !== '/v2/';

function parseTarget({ pathname }: URL): Target {
  const found = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(pathname);
  const [, repository = '', kind = '', reference = ''] = found ?? [];
  return { repository, kind, reference };
}

/** Serves orders of the parent process. @param user whose credentials the token endpoint takes, `name:password` */
async function serveHub(user: string): Promise<void> {
  const hub = createHub(user);
  let waiting: (() => void)[] = [];
  const server = createServer((req, res) => {
    if (hub.mood.silent) waiting.push(() => hub.answer(req, res));
    else hub.answer(req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const change = async (changes: Partial<HubMood>) => {
    const before = hub.mood;
    hub.mood = { ...before, ...changes };
    if (before.silent && !hub.mood.silent) {
      for (const answer of waiting) answer();
      waiting = [];
    }
    if (before.away === hub.mood.away) return;
    if (hub.mood.away) {
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
    switch (order.order) {
      case 'mood':
        return change(order.mood);
      case 'requests':
        return hub.takeRequests();
      case 'blob':
        return hub.contents.addBlob(Buffer.from(order.bytes));
      case 'manifest':
        return hub.contents.addManifest(order, Buffer.from(order.bytes));
    }
  };
  process.on('message', (order: HubOrder) => void carryOut(order).then((done) => process.send?.({ done })));
  process.on('disconnect', () => process.exit());
  process.send?.({ done: port });
}

const [, , user] = process.argv;
if (process.send !== undefined && user !== undefined) await serveHub(user);
