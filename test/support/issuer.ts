import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { copyCertificate } from './certificate-files.ts';

export type Json = Record<string, unknown>;
export type KeyKind = 'RS256' | 'ES256' | 'EdDSA' | 'RS1024';

/** A key of an issuer. */
export type SigningKey = {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: Json;
};

/** An https issuer of ID tokens with its own CA. A test can make it lie. */
export type Issuer = {
  readonly url: string;
  /** PEM of the CA to trust. */
  readonly ca: string;
  readonly caPath: string;
  /** The requested paths. */
  readonly requests: string[];

  documents: { discovery: unknown; jwks: unknown };
  /** Overrides its answers. */
  respond: RequestListener | null;
  stop(): Promise<void>;
};

export const audience = 'registry.example.com';

const made = new Map<string, SigningKey>();

/** Returns the same key at each call with the same arguments. */
export function signingKey(kid: string, kind: KeyKind = 'RS256'): SigningKey {
  const known = made.get(kid + kind);
  if (known) return known;
  const { privateKey, publicKey } =
    kind === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : kind === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: kind === 'RS1024' ? 1024 : 2048 });
  const alg = kind === 'RS1024' ? 'RS256' : kind;
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg };
  const key = { kid, alg, privateKey, publicKey, jwk };
  made.set(kid + kind, key);
  return key;
}

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** Signs any claims as the header says. */
export function signToken(key: SigningKey, claims: Json, header: Json = {}): string {
  const { kid, alg, privateKey, publicKey } = key;
  const full: Json = { typ: 'JWT', alg, kid, ...header };
  const text = `${encode(full)}.${encode(claims)}`;
  const algorithm = full['alg'];
  const signature =
    algorithm === 'none'
      ? Buffer.alloc(0)
      : algorithm === 'HS256'
        ? createHmac('sha256', publicKey.export({ type: 'spki', format: 'pem' }))
            .update(text)
            .digest()
        : sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(text), {
            key: privateKey,
            dsaEncoding: 'ieee-p1363',
          });
  return `${text}.${signature.toString('base64url')}`;
}

/** Claims of a valid token, with the changes of a test. */
export function goodClaims(
  issuer: string,
  claims: Json = {},
  nowSeconds = Math.floor(Date.now() / 1000),
): Json {
  return {
    iss: issuer,
    aud: audience,
    sub: 'repo:acme/app:ref:refs/heads/main',
    iat: nowSeconds,
    nbf: nowSeconds,
    exp: nowSeconds + 300,
    ...claims,
  };
}

/** Starts an issuer that publishes these keys. */
export async function startIssuer(keys: readonly SigningKey[]): Promise<Issuer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-issuer-'));
  await copyCertificate(dir, ['localhost']);
  const [cert, key, ca] = await Promise.all(
    ['server.crt', 'server.key', 'ca.crt'].map((name) => readFile(path.join(dir, name), 'utf8')),
  );
  const send = (res: ServerResponse, document: unknown) =>
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(document));
  const server = createServer({ cert, key }, (req, res) => {
    issuer.requests.push(req.url ?? '');
    if (issuer.respond) issuer.respond(req, res);
    else if (req.url === '/.well-known/openid-configuration') send(res, issuer.documents.discovery);
    else if (req.url === '/jwks') send(res, issuer.documents.jwks);
    else res.writeHead(404).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const issuer: Issuer = {
    url,
    ca: ca ?? '',
    caPath: path.join(dir, 'ca.crt'),
    requests: [],
    documents: { discovery: { issuer: url, jwks_uri: `${url}/jwks` }, jwks: keySet(keys) },
    respond: null,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await rm(dir, { recursive: true });
    },
  };
  return issuer;
}

export function keySet(keys: readonly SigningKey[]): Json {
  return { keys: keys.map(({ jwk }) => jwk) };
}
