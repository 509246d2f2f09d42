import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import path from 'node:path';
import { loadAcmeCa } from '../acme/keeper.ts';
import { explainReadError, readHtpasswdText } from '../auth/htpasswd/htpasswd-content.ts';
import { describeHtpasswd } from '../auth/htpasswd/htpasswd-file.ts';
import { parseHtpasswd } from '../auth/htpasswd/htpasswd.ts';
import { describeTokenList, loadTokenList } from '../auth/machine-tokens/token-list-file.ts';
import { findStaleTokens } from '../auth/machine-tokens/stale-tokens.ts';
import { readTokenUses, usesPathOf } from '../auth/machine-tokens/token-uses.ts';
import { checkGrantPattern } from '../policy/token-grants.ts';
import { loadTokenSecrets } from '../auth/tokens/token-secrets.ts';
import { findAcmeFolder } from '../config/schema/acme-folder.ts';
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
import { managedCertificatePath } from '../tls/managed-certificate.ts';
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
  const { auth } = config;
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
    await checkServed(config, now),
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
    ['tls.acme.ca', tls.acme.ca, loadAcmeCa],
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

/** Checks the server's certificate: the operator's own, or the folder of the one that Tidegate orders. */
async function checkServed(config: Config, now: Date): Promise<FileFindings> {
  const folder = findAcmeFolder(config);
  if (folder === null) return checkServerFiles(config.tls, now);
  const warnings = [...(await findFolderFaults(folder))];
  const file = managedCertificatePath(folder);
  if ((await findAccess(file)) !== 'readable') return { warnings, problems: [] };
  const { warnings: further, problems } = await gather(async () => {
    const {
      names,
      leftOut,
      warnings: found,
    } = await loadServerCertificate({
      ...{ certPath: file, keyPath: file, now },
      isManaged: true,
    });
    const missing = config.tls.acme.hosts.filter((host) => !names.includes(host));
    const wanted =
      missing.length === 0 ? [] : [`${file} is not for ${missing.join(', ')} yet: serve orders another.`];
    return [...leftOut, ...found, ...wanted];
  });
  // One that cannot be used stops no start: another is ordered.
  return { warnings: [...warnings, ...further, ...problems], problems: [] };
}

/** Whether this user can write there, as the service must. */
async function findFolderFaults(folder: string): Promise<string[]> {
  let existing = folder;
  while (!existsSync(existing) && path.dirname(existing) !== existing) existing = path.dirname(existing);
  try {
    await access(existing, constants.W_OK | constants.X_OK);
    return [];
  } catch {
    return [
      `tls.acme.dir: ${folder} can't be written to by this user: the user of the service must own it, with mode 0700.`,
    ];
  }
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
    const loaded = await loadServerCertificate({ certPath: cert, keyPath: key, now });
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
