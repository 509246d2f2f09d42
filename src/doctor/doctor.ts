import type { X509Certificate } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { ConfigSources, LoadedConfig } from '../config/load/load.ts';
import { findCertificateFiles } from '../app/pem-files.ts';
import { readCertificateList } from '../tls/certificate-list.ts';
import { loadPem, loadPemIfAny } from '../tls/pem.ts';
import { readPrivateKey } from '../tls/private-key.ts';
import { parseAltNames } from '../tls/server-name.ts';
import { judgeName } from './client/connection/certificate-checks.ts';
import { runChecks, skipAll, type Check } from './check.ts';
import type { ClientOptions } from './client/client-check.ts';
import { createClientChecks } from './client/client-checks.ts';
import { findConfiguration } from './operator/configuration.ts';
import type { Finding } from './finding.ts';
import { createOperatorChecks } from './operator/operator-checks.ts';
import { chooseTarget, formatAuthority, type Target } from './client/target.ts';
import { createTimeLimit } from '../system/time-limit.ts';
import { loadTrust } from './client/connection/trust.ts';

export type DoctorOptions = {
  readonly sources: ConfigSources;
  /** Whether one of --config, --flavor and --set was given. */
  readonly namesConfig: boolean;
  /** The address to check; null for the configured one. */
  readonly target: Target | null;
  readonly login: ClientOptions['login'];
  readonly repository: string;
  /** Paths of PEM files, if given. */
  readonly caPath: string | undefined;
  readonly clientCertificatePaths: { readonly cert: string; readonly key: string } | null;
  readonly nowMs: () => number;
  readonly onStart: (id: string) => void;
};

/** What was found. */
export type Diagnosis = {
  /** `https://HOST[:PORT]`; null when there was nothing to check as a client. */
  readonly url: string | null;
  readonly client: readonly Finding[];
  readonly operator: readonly Finding[];
};

/** With this and the checks' own limits, the whole run ends within a minute. */
const wholeLimitMs = 50_000;
const operatorLimitMs = 20_000;

/**
 * Checks Tidegate as its clients see it, and the machine as its operator sees it. @throws OperatorError when a named
 * file cannot be used.
 */
export async function diagnose(options: DoctorOptions): Promise<Diagnosis> {
  const { onStart, nowMs } = options;
  const { finding, loaded } = await findConfiguration(
    options.sources,
    options.namesConfig || options.target === null,
  );
  const leaf = loaded === null ? null : await loadLeaf(findCertificateFiles(loaded.config).certPath);
  const target = options.target ?? describedTarget(loaded, leaf);
  const clientChecks = target === null ? [] : await listClientChecks(options, target, loaded, leaf);
  const operatorChecks = createOperatorChecks(loaded, () => new Date(nowMs()));
  const whole = createTimeLimit(new AbortController().signal, wholeLimitMs);
  const part = createTimeLimit(whole.signal, operatorLimitMs);
  try {
    // One after the other, so that neither slows down the other.
    const operator = await runChecks(operatorChecks, { deadline: part.signal, onStart });
    const client = await runChecks(clientChecks, { deadline: whole.signal, onStart });
    return {
      url: target === null ? null : `https://${formatAuthority(target)}`,
      client: target === null ? noTarget : client,
      operator: [finding, ...operator],
    };
  } finally {
    part.end();
    whole.end();
  }
}

const noTarget = skipAll(
  ['client'],
  'The address to check is not known: the configuration names no certificate with a host name, or no fixed port.',
  'tidegate doctor https://HOST:PORT',
);

async function listClientChecks(
  options: DoctorOptions,
  target: Target,
  loaded: LoadedConfig | null,
  leaf: X509Certificate | null,
): Promise<Check[]> {
  const { caPath, clientCertificatePaths, login, repository, nowMs } = options;
  const certPath = loaded === null ? undefined : findCertificateFiles(loaded.config).certPath;
  // A configuration on this machine may belong to another Tidegate than the named one.
  const isDescribed =
    options.target === null || (leaf !== null && judgeName(leaf, target.name).state === 'ok');
  return createClientChecks({
    target,
    trust: await loadTrust(caPath, certPath === undefined ? null : join(dirname(certPath), 'ca.crt')),
    clientCertificate:
      clientCertificatePaths === null ? null : await loadClientCertificate(clientCertificatePaths),
    login,
    repository,
    versionCheck: isDescribed ? (loaded?.config.auth.versionCheck ?? null) : null,
    onDisk: !isDescribed || leaf === null || certPath === undefined ? null : { leaf, path: certPath },
    nowMs,
  });
}

function describedTarget(loaded: LoadedConfig | null, leaf: X509Certificate | null): Target | null {
  if (loaded === null || leaf === null) return null;
  return chooseTarget(parseAltNames(leaf.subjectAltName), loaded.config.listen);
}

/** Loads the configured certificate; null without one, which has its own check. */
async function loadLeaf(path: string): Promise<X509Certificate | null> {
  try {
    const pem = await loadPemIfAny(path);
    return pem === null ? null : readCertificateList(pem, path, { holdsKey: true }).certificates[0];
  } catch {
    return null;
  }
}

async function loadClientCertificate(paths: {
  cert: string;
  key: string;
}): Promise<{ cert: string; key: string }> {
  const cert = await loadPem(paths.cert, 'name the PEM file of a client certificate with --client-cert');
  const key = await loadPem(paths.key, 'name the PEM file of its key with --client-key');
  const isOneFile = paths.cert === paths.key;
  return {
    cert: readCertificateList(cert, paths.cert, { holdsKey: isOneFile }).chainPem,
    key: readPrivateKey(key, paths.key, { holdsCertificate: isOneFile }).pem,
  };
}
