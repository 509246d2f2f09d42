import { loadTokenSecrets } from '../auth/tokens/token-secrets.ts';
import type { Config } from '../config/schema/schema.ts';
import { loadAuthorities, type Authorities } from '../tls/authorities.ts';
import { loadServerCertificate } from '../tls/certificate.ts';

/**
 * The checked content of the PEM files and secret files that a configuration names; plain data, so that processes can
 * send it. All users of a CA get it from here and read no file: what is used is what was checked.
 */
export type PemFiles = {
  readonly cert: string;
  readonly key: string;
  /** The CAs for client certificates; null: none are demanded. */
  readonly clientCa: string | null;
  /** The CAs to verify upstream with; null: the public ones. */
  readonly upstreamCa: string | null;
  /** The CAs to verify the registries of routes with, by the paths of their files. */
  readonly routeCas: Readonly<Record<string, string>>;
  /** The CAs to verify Redis with; null: the public ones, or there is no Redis. */
  readonly redisCa: string | null;
  /** The CAs to verify webhook and mail server with; null: the public ones. */
  readonly alertsCa: string | null;
  /** The CAs that verify issuers of ID tokens, by the paths of their files. */
  readonly issuerCas: Readonly<Record<string, string>>;
  /** The secrets of tokens; the first signs. */
  readonly tokenSecrets: readonly string[];
  /** The host names and addresses in the server's certificate. */
  readonly names: readonly string[];
  /** When it expires, in milliseconds since 1970. */
  readonly notAfterMs: number;
};

/** The keys of a configuration that name such files. */
type NamesFiles = Pick<Config, 'tls' | 'upstream' | 'routes' | 'cache' | 'alerts' | 'auth'>;

/**
 * Loads all of them; `warnings` are for the log, one sentence each.
 * @throws OperatorError that names the file and the fix.
 */
export async function loadPemFiles(
  config: NamesFiles,
  now: Date,
): Promise<{ pem: PemFiles; warnings: readonly string[] }> {
  const { tls, upstream, alerts, auth } = config;
  const server = await loadServerCertificate({
    certPath: tls.cert,
    keyPath: tls.key,
    clientCaPath: tls.clientCa,
    now,
  });
  const upstreamCa = await unlessNull(upstream.ca, loadUpstreamCa);
  const routeCas = await loadEach(listRouteCas(config), loadRouteCa);
  const redisCa = await unlessNull(redisCaPath(config), loadRedisCa);
  const alertsCa = await unlessNull(alerts.ca, loadAlertsCa);
  const issuerCas = await loadEach(listIssuerCas(auth), loadIssuerCa);
  const tokens = await loadTokenSecrets(auth.tokenKeys);
  return {
    pem: {
      cert: server.cert,
      key: server.key,
      clientCa: server.clientCa,
      upstreamCa: upstreamCa?.pem ?? null,
      routeCas: pemByPath(routeCas),
      redisCa: redisCa?.pem ?? null,
      alertsCa: alertsCa?.pem ?? null,
      issuerCas: pemByPath(issuerCas),
      tokenSecrets: tokens.secrets,
      names: server.names,
      notAfterMs: server.notAfter.getTime(),
    },
    warnings: [
      { warnings: server.leftOut },
      server,
      upstreamCa,
      ...routeCas,
      redisCa,
      alertsCa,
      ...issuerCas,
      tokens,
    ].flatMap((loaded) => loaded?.warnings ?? []),
  };
}

/** The files that {@link loadPemFiles} reads. */
export function listPemFiles(config: NamesFiles): string[] {
  const { tls, upstream, alerts, auth } = config;
  const paths = [tls.cert, tls.key, tls.clientCa, upstream.ca, redisCaPath(config), alerts.ca];
  return [...paths, ...listRouteCas(config), ...listIssuerCas(auth), ...auth.tokenKeys].filter(
    (path) => path !== null,
  );
}

/** Loads the CAs of upstream.ca. @throws OperatorError */
export function loadUpstreamCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing: "set upstream.ca to the PEM file of the CA that signed upstream's certificate",
  });
}

/** The files of CAs that routes name, each once. */
export function listRouteCas({ routes }: Pick<Config, 'routes'>): string[] {
  return [...new Set(routes.flatMap(({ upstream: { ca } }) => ca ?? []))];
}

/** Loads the CAs of a route's upstream. @throws OperatorError */
export function loadRouteCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing:
      'set upstream.ca of the route to the PEM file of the CA that signed the certificate of its registry',
  });
}

/** Loads the CAs of cache.redis.ca. @throws OperatorError */
export function loadRedisCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing: "set cache.redis.ca to the PEM file of the CA that signed Redis's certificate",
  });
}

/** The files of CAs that `auth.oidc` names, each once. */
export function listIssuerCas({ oidc }: Config['auth']): string[] {
  return [...new Set(oidc.flatMap(({ ca }) => ca ?? []))];
}

/** Loads the CAs of an issuer of ID tokens. @throws OperatorError */
export function loadIssuerCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing:
      "set ca in auth.oidc to the PEM file of the CA that signed the certificate of the issuer's server",
  });
}

/** Loads the CAs of alerts.ca. @throws OperatorError */
export function loadAlertsCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing:
      'set alerts.ca to the PEM file of the CA that signed the certificate of webhook or mail server',
  });
}

/** Null if no Redis is used. */
function redisCaPath({ cache }: Pick<Config, 'cache'>): string | null {
  return cache.driver === 'redis' ? cache.redis.ca : null;
}

type LoadedCa = Authorities & { readonly path: string };

function loadEach(
  paths: readonly string[],
  load: (path: string) => Promise<Authorities>,
): Promise<LoadedCa[]> {
  return Promise.all(paths.map(async (path) => ({ path, ...(await load(path)) })));
}

function pemByPath(loaded: readonly LoadedCa[]): Record<string, string> {
  return Object.fromEntries(loaded.map(({ path, pem }) => [path, pem]));
}

async function unlessNull<T>(path: string | null, load: (path: string) => Promise<T>): Promise<T | null> {
  return path === null ? null : load(path);
}
