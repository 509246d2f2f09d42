import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { explainReadError, readHtpasswdText } from '../auth/htpasswd/htpasswd-content.ts';
import { describeHtpasswd } from '../auth/htpasswd/htpasswd-file.ts';
import { parseHtpasswd } from '../auth/htpasswd/htpasswd.ts';
import { describeTokenList, loadTokenList } from '../auth/machine-tokens/token-list-file.ts';
import { findStaleTokens } from '../auth/machine-tokens/stale-tokens.ts';
import { readTokenUses, usesPathOf } from '../auth/machine-tokens/token-uses.ts';
import { checkGrantPattern } from '../policy/token-grants.ts';
import { loadTokenSecrets } from '../auth/tokens/token-secrets.ts';
import type { Config } from '../config/schema/schema.ts';
import { OperatorError } from '../system/operator-error.ts';
import {
  listIssuerCas,
  listRouteCas,
  loadAlertsCa,
  loadIssuerCa,
  loadRedisCa,
  loadRouteCa,
  loadUpstreamCa,
} from './pem-files.ts';
import { loadClientCa, loadServerCertificate } from '../tls/certificate.ts';
import { readCertificateList } from '../tls/certificate-list.ts';
import { loadPem } from '../tls/pem.ts';
import { readPrivateKey } from '../tls/private-key.ts';

/** The findings about the files of a configuration, a sentence each. */
export type FileFindings = {
  readonly warnings: readonly string[];
  /** Faults that prevent a start. */
  readonly problems: readonly string[];
};

/** Reads one file; returns warnings. @throws OperatorError when it can't be used. */
type Reader = (path: string) => Promise<readonly string[]>;
type Named = { readonly key: string; readonly path: string; readonly read: Reader };

/**
 * Reads every file that the configuration names, like `serve`. Ignores missing files: the configuration may be checked
 * on another machine.
 */
export async function checkConfiguredFiles(config: Config, now: Date): Promise<FileFindings> {
  const { tls, auth } = config;
  const users: Named = {
    key: 'auth.htpasswd',
    path: auth.htpasswd,
    read: async (path) => {
      const text = await readHtpasswdText(path).catch((error: unknown) => {
        throw explainReadError(path, error);
      });
      return describeHtpasswd(path, parseHtpasswd(text, auth));
    },
  };
  const machines: Named = {
    key: 'auth.machineTokens',
    path: auth.machineTokens,
    read: async (path) => (await checkMachineTokens(path, now)).warnings,
  };
  return merge([
    await checkServerFiles(tls, now),
    await checkFurtherFiles(config),
    await checkFile(users),
    await checkFile(machines),
  ]);
}

/** Reads a file of machine tokens, and what is known of their use. @throws OperatorError when it cannot be used */
export async function checkMachineTokens(
  path: string,
  now: Date,
): Promise<{ readonly tokens: number; readonly warnings: readonly string[] }> {
  const { list, mode } = await loadTokenList(path, checkGrantPattern);
  const uses = await readTokenUses(usesPathOf(path)).catch((error: unknown) => {
    if (error instanceof OperatorError) return error;
    throw error;
  });
  const stale =
    uses instanceof OperatorError
      ? [...findStaleTokens(list, null, now), uses.message]
      : findStaleTokens(list, uses, now);
  return { tokens: list.entries.size, warnings: [...describeTokenList(path, list, mode), ...stale] };
}

/** The same for CAs and secrets: all except certificate, key and users. */
export async function checkFurtherFiles(config: Config): Promise<FileFindings> {
  const { tls, upstream, cache, alerts, auth } = config;
  const cas = [
    ['tls.clientCa', tls.clientCa, loadClientCa],
    ['upstream.ca', upstream.ca, loadUpstreamCa],
    ...listRouteCas(config).map((path) => ['routes', path, loadRouteCa] as const),
    ['cache.redis.ca', cache.redis.ca, loadRedisCa],
    ['alerts.ca', alerts.ca, loadAlertsCa],
    ...listIssuerCas(auth).map((path) => ['auth.oidc', path, loadIssuerCa] as const),
  ] as const;
  const files: Named[] = cas.flatMap(([key, path, load]) =>
    path === null ? [] : [{ key, path, read: async (from: string) => (await load(from)).warnings }],
  );
  for (const path of auth.tokenKeys) {
    const read: Reader = async (from) => (await loadTokenSecrets([from])).warnings;
    files.push({ key: 'auth.tokenKeys', path, read });
  }
  return merge(await Promise.all(files.map(checkFile)));
}

/** Checks certificate and key together; if one is missing here, the other alone. */
async function checkServerFiles({ cert, key }: Config['tls'], now: Date): Promise<FileFindings> {
  const files: Named[] = [
    {
      key: 'tls.cert',
      path: cert,
      read: async (path) =>
        readCertificateList(await loadPem(path, ''), path, { holdsKey: cert === key }).warnings,
    },
    {
      key: 'tls.key',
      path: key,
      read: async (path) =>
        readPrivateKey(await loadPem(path, ''), path, { holdsCertificate: cert === key }).warnings,
    },
  ];
  const states = await Promise.all(files.map(({ path }) => findAccess(path)));
  if (states.some((state) => state !== 'readable')) return merge(await Promise.all(files.map(checkFile)));
  return gather(async () => {
    const loaded = await loadServerCertificate({ certPath: cert, keyPath: key, clientCaPath: null, now });
    return [...loaded.leftOut, ...loaded.warnings];
  });
}

async function checkFile({ key, path, read }: Named): Promise<FileFindings> {
  const state = await findAccess(path);
  if (state === 'missing') return { warnings: [], problems: [] };
  if (state === 'forbidden') {
    const warning = `${key}: ${path} can't be read by this user and was not checked: run the check as the user of the service.`;
    return { warnings: [warning], problems: [] };
  }
  return gather(() => read(path));
}

async function findAccess(path: string): Promise<'readable' | 'forbidden' | 'missing'> {
  try {
    await access(path, constants.R_OK);
    return 'readable';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'forbidden' : 'missing';
  }
}

async function gather(read: () => Promise<readonly string[]>): Promise<FileFindings> {
  try {
    return { warnings: await read(), problems: [] };
  } catch (error) {
    if (error instanceof OperatorError) return { warnings: [], problems: [error.message] };
    throw error;
  }
}

function merge(findings: readonly FileFindings[]): FileFindings {
  return {
    warnings: findings.flatMap(({ warnings }) => warnings),
    problems: findings.flatMap(({ problems }) => problems),
  };
}
