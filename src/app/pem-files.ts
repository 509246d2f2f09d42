import { loadTokenSecrets } from '../auth/tokens/token-secrets.ts';
import { findAcmeFolder } from '../config/schema/acme-folder.ts';
import type { Config } from '../config/schema/schema.ts';
import { OperatorError } from '../system/operator-error.ts';
import { loadAuthorities, type Authorities } from '../tls/authorities.ts';
import { loadClientCa, loadServerCertificate } from '../tls/certificate.ts';
import { createInterimCertificate } from '../tls/issue/interim-certificate.ts';
import { managedCertificatePath } from '../tls/managed-certificate.ts';
import { loadPemIfAny } from '../tls/pem.ts';

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
  /** Whose certificate it is: the operator's, one of the CA by ACME, or one that answers until there is such a one. */
  readonly origin: 'files' | 'acme' | 'interim';
};

/** The server's certificate among them. */
type ServedCertificate = Pick<PemFiles, 'cert' | 'key' | 'names' | 'notAfterMs' | 'origin'>;

/** The keys of a configuration that name such files. */
type NamesFiles = Pick<Config, 'tls' | 'state' | 'upstream' | 'routes' | 'cache' | 'alerts' | 'auth'>;

/**
 * Loads all of them; `warnings` are for the log, one sentence each.
 * @param present what is in effect, at a reload; null: nothing
 * @throws OperatorError that names the file and the fix.
 */
export async function loadPemFiles(
  config: NamesFiles,
  now: Date,
  present: ServedCertificate | null,
): Promise<{ pem: PemFiles; warnings: readonly string[] }> {
  const { tls, upstream, alerts, auth } = config;
  const server = await loadServed(config, now, present);
  const clientCa = await unlessNull(tls.clientCa, loadClientCa);
  const upstreamCa = await unlessNull(upstream.ca, loadUpstreamCa);
  const routeCas = await loadEach(listRouteCas(config), loadRouteCa);
  const redisCa = await unlessNull(redisCaPath(config), loadRedisCa);
  const alertsCa = await unlessNull(alerts.ca, loadAlertsCa);
  const issuerCas = await loadEach(listIssuerCas(auth), loadIssuerCa);
  const tokens = await loadTokenSecrets(auth.tokenKeys);
  return {
    pem: {
      ...server.certificate,
      clientCa: clientCa?.pem ?? null,
      upstreamCa: upstreamCa?.pem ?? null,
      routeCas: pemByPath(routeCas),
      redisCa: redisCa?.pem ?? null,
      alertsCa: alertsCa?.pem ?? null,
      issuerCas: pemByPath(issuerCas),
      tokenSecrets: tokens.secrets,
    },
    warnings: [server, clientCa, upstreamCa, ...routeCas, redisCa, alertsCa, ...issuerCas, tokens].flatMap(
      (loaded) => loaded?.warnings ?? [],
    ),
  };
}

/** The files of the server's certificate. */
export function findCertificateFiles(config: Pick<Config, 'tls' | 'state'>) {
  const folder = findAcmeFolder(config);
  if (folder === null) return { certPath: config.tls.cert, keyPath: config.tls.key, isManaged: false };
  const path = managedCertificatePath(folder);
  return { certPath: path, keyPath: path, isManaged: true };
}

type LoadedCertificate = { readonly certificate: ServedCertificate; readonly warnings: readonly string[] };

/** Loads the server's certificate. @throws OperatorError */
async function loadServed(
  config: NamesFiles,
  now: Date,
  present: ServedCertificate | null,
): Promise<LoadedCertificate> {
  const files = findCertificateFiles(config);
  if (!files.isManaged) return loadOwn(files, now);
  try {
    if ((await loadPemIfAny(files.certPath)) !== null) return await loadOwn(files, now);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return await standIn(config.tls.acme.hosts, now, present, [`${error.message} Another is ordered.`]);
  }
  return standIn(config.tls.acme.hosts, now, present, []);
}

async function loadOwn(
  files: ReturnType<typeof findCertificateFiles>,
  now: Date,
): Promise<LoadedCertificate> {
  const origin: PemFiles['origin'] = files.isManaged ? 'acme' : 'files';
  const loaded = await loadServerCertificate({ ...files, now });
  const { cert, key, names, notAfter, leftOut, warnings } = loaded;
  const certificate = { cert, key, names, notAfterMs: notAfter.getTime(), origin };
  return { certificate, warnings: [...leftOut, ...warnings] };
}

/** What is in effect, or a self-signed certificate, until there is one of the CA. */
async function standIn(
  hosts: readonly string[],
  now: Date,
  present: ServedCertificate | null,
  warnings: readonly string[],
): Promise<LoadedCertificate> {
  const isStillRight = present?.origin === 'interim' && present.names.join() === hosts.join();
  if (present !== null && (present.origin !== 'interim' || isStillRight))
    return { certificate: present, warnings };
  const { cert, key, notAfter } = await createInterimCertificate(hosts, now);
  return {
    certificate: { cert, key, names: hosts, notAfterMs: notAfter.getTime(), origin: 'interim' },
    warnings,
  };
}

/** The files that {@link loadPemFiles} reads. */
export function listPemFiles(config: NamesFiles): string[] {
  const { tls, upstream, alerts, auth } = config;
  const { certPath, keyPath } = findCertificateFiles(config);
  const paths = [...new Set([certPath, keyPath]), tls.clientCa, upstream.ca, redisCaPath(config), alerts.ca];
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
