import type { LoadedConfig } from '../../config/load/load.ts';
import { findCertificateFiles } from '../../app/pem-files.ts';
import { checkFurtherFiles, type FileFindings } from '../../app/configured-files.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { loadServerCertificate } from '../../tls/certificate.ts';
import { loadPemIfAny } from '../../tls/pem.ts';
import { createAcmeChecks } from './acme.ts';
import { createAdminChecks, findAdmin } from './admin.ts';
import type { Check } from '../check.ts';
import { createCleanChecks } from './clean.ts';
import { checkFileModes } from './file-modes.ts';
import { broken, count, ok, warning, type Finding } from '../finding.ts';
import { checkHtpasswd, htpasswdIds, readUserNames } from './identity/htpasswd-hashes.ts';
import { createIssuerChecks } from './identity/issuers.ts';
import { judgeMachineTokens } from './identity/machine-tokens.ts';
import { judgeMachineUsers } from './identity/machine-users.ts';
import { checkMachine } from './machine.ts';
import { createRedisExposureChecks } from './redis-exposure.ts';
import { createRedisChecks } from './redis-server.ts';
import { checkStorage, storageIds } from './storage-space.ts';
import { createRouteChecks } from './routes.ts';
import { createUpstreamChecks } from './upstream.ts';

const fileLimitMs = 5000;

/** The checks as an operator; null without a valid configuration. */
export function createOperatorChecks(
  loaded: LoadedConfig | null,
  now: () => Date,
): (Check | readonly Check[])[] {
  if (loaded === null) return [];
  const { config } = loaded;
  return [
    {
      ids: ['files.certificate'],
      limitMs: fileLimitMs,
      fix: 'tidegate cert show',
      run: async () => [await checkCertificateFiles(config, now())],
    },
    {
      ids: ['files.content'],
      limitMs: fileLimitMs,
      fix: 'is the disk or the network file system there?',
      run: async () => [judgeFurtherFiles(await checkFurtherFiles(config))],
    },
    {
      ids: ['files.key', 'files.ca-key', 'files.htpasswd', 'files.config'],
      limitMs: fileLimitMs,
      fix: 'is the disk or the network file system there?',
      run: () => checkFileModes(loaded),
    },
    {
      ids: [...htpasswdIds],
      limitMs: fileLimitMs,
      fix: 'is the disk or the network file system there?',
      run: () => checkHtpasswd(config.auth.htpasswd, config.auth),
    },
    {
      ids: ['htpasswd.machines'],
      limitMs: fileLimitMs,
      fix: 'tidegate usage',
      run: async () => [
        await judgeMachineUsers(config.state, await readUserNames(config.auth.htpasswd, config.auth)),
      ],
    },
    {
      ids: ['tokens.machine'],
      limitMs: fileLimitMs,
      fix: 'is the disk or the network file system there?',
      run: async () => [await judgeMachineTokens(config.auth.machineTokens, now())],
    },
    ...createAcmeChecks(config, now),
    ...createIssuerChecks(config),
    ...createUpstreamChecks(config.upstream),
    {
      ids: [...storageIds],
      limitMs: fileLimitMs,
      fix: 'is the disk or the network file system there?',
      run: () => checkStorage(config.upstream.storage),
    },
    ...createCleanChecks(config),
    createRouteChecks(config),
    ...createRedisChecks(config.cache),
    ...createRedisExposureChecks(config.cache),
    ...createAdminChecks(findAdmin(config)),
    {
      ids: ['machine.open-files', 'machine.workers', 'machine.clock'],
      limitMs: fileLimitMs,
      fix: 'is /proc mounted?',
      run: () => checkMachine(config),
    },
  ];
}

/** Loads certificate and key like `serve`. */
async function checkCertificateFiles(config: LoadedConfig['config'], now: Date): Promise<Finding> {
  const check = 'files.certificate';
  const files = findCertificateFiles(config);
  const cert = files.certPath;
  if (files.isManaged && (await loadPemIfAny(cert)) === null)
    return warning(check, `${cert} does not exist yet: serve orders it.`, 'tidegate cert show');
  try {
    const { names, leftOut } = await loadServerCertificate({ ...files, now });
    if (leftOut.length > 0) return warning(check, leftOut.join(' '), 'tidegate cert show');
    return ok(
      check,
      `${cert} and its key belong together and are valid, for ${count(names.length, 'name')}.`,
    );
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return judgeSentence(check, error.message);
  }
}

/** Judges the CAs and secrets that the configuration names. */
function judgeFurtherFiles({ warnings, problems }: FileFindings): Finding {
  const check = 'files.content';
  const [first, ...others] = problems;
  if (first !== undefined && others.length === 0) return judgeSentence(check, first);
  if (first !== undefined) return broken(check, problems.join(' '), 'tidegate config check');
  if (warnings.length > 0) return warning(check, warnings.join(' '), 'tidegate config check');
  return ok(check, 'The other CAs and secrets that the configuration names can be used.');
}

/** Splits an OperatorError into the fault and, after its last colon, the fix. */
export function judgeSentence(check: string, sentence: string): Finding {
  const [, what = '', fix = ''] = /^([^]*): ([^]+?)\.?$/.exec(sentence) ?? [];
  // A colon may also follow just a file's name.
  return what.includes(' ') ? broken(check, `${what}.`, fix) : broken(check, sentence, 'tidegate cert show');
}
