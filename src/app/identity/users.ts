import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { createAuthenticator, type Authenticator } from '../../auth/authenticator.ts';
import { openHtpasswdFile, type HtpasswdFile } from '../../auth/htpasswd/htpasswd-file.ts';
import type { LoginThrottle } from '../../auth/throttle/login-throttle.ts';
import { createPasswordPool, type PasswordPool } from '../../auth/password/password-pool.ts';
import { createMachineLogins, type MachineLogins } from '../../auth/machine-tokens/machine-logins.ts';
import { joinTokenLists, sweepPersonalTokens } from '../../auth/machine-tokens/personal-tokens.ts';
import { openTokenListFile, type TokenListFile } from '../../auth/machine-tokens/token-list-file.ts';
import { createTokenUseRecorder, usesPathOf } from '../../auth/machine-tokens/token-uses.ts';
import { checkGrantPattern } from '../../policy/token-grants.ts';
import type { V1TokenNotice } from '../../auth/tokens/v1-tokens.ts';
import type { Config } from '../../config/schema/schema.ts';
import type { Metrics } from '../../telemetry/metrics/metrics.ts';
import type { WorkerIpcFan } from '../worker-ipc-fan.ts';

/** The users and their logins; shared by successive services, and freed with the last. */
export type Users = {
  readonly htpasswd: HtpasswdFile;
  readonly machines: MachineLogins;
  /** The machine tokens in effect, by who made them. */
  readonly tokenFiles: Readonly<Record<'personal' | 'operators', Pick<TokenListFile, 'all'>>>;
  readonly authenticator: Authenticator;
  readonly pool: Pick<PasswordPool, 'load' | 'hash'>;
  /** Reads all files at once. @throws OperatorError when one cannot be used; nothing has changed then. */
  reread(): Promise<RereadUsers>;
  /** Shares it with one more. */
  share(): Users;
  /** Call it once for the first, and once for each share. */
  release(): Promise<void>;
};

/** Files that have been reread, and are not in effect yet. */
export type RereadUsers = {
  /** The keys whose files have changed. */
  readonly changed: readonly string[];
  use(): void;
};

/** Whether both configurations have the same users: then known logins stay. */
export function meansSameUsers(one: Config['auth'], other: Config['auth']): boolean {
  // The keys that only the pipeline reads. A new key counts as one of the users until it is listed here.
  const read = (auth: Config['auth']) => ({
    ...auth,
    realm: null,
    open: null,
    versionCheck: null,
    challengeAgents: null,
    openAgents: null,
    tokens: null,
    tokenKeys: null,
    tokenTtl: null,
    uploadGrace: null,
    refreshTokenTtl: null,
    oidc: null,
  });
  return isDeepStrictEqual(read(one), read(other));
}

/** What outlives all users. */
export type UsersOptions = {
  readonly logger: Logger;
  readonly throttle: LoginThrottle;
  readonly metrics: Pick<Metrics, 'passwordWaited' | 'passwordRejected'>;
  readonly tokens: WorkerIpcFan<V1TokenNotice> | undefined;
  /** The file of the tokens that users make for themselves. */
  readonly personalTokens: string;
};

/** Opens the users, held once. @throws OperatorError when the htpasswd file, or that of machine tokens, cannot be used. */
export async function openUsers(
  auth: Config['auth'],
  { logger, throttle, metrics, tokens, personalTokens }: UsersOptions,
): Promise<Users> {
  const htpasswd = await openHtpasswdFile({
    path: auth.htpasswd,
    maxBcryptCost: auth.maxBcryptCost,
    maxShaCryptRounds: auth.maxShaCryptRounds,
    logger,
  });
  const { files, tokenFiles, uses, machines, close } = await openMachines(auth.machineTokens, {
    ...{ htpasswd, throttle, logger, personalTokens },
  }).catch((error: unknown) => {
    htpasswd.close();
    throw error;
  });
  const ipc = tokens?.join();
  const pool = createPasswordPool({
    threads: auth.passwordThreads,
    maxQueued: auth.passwordQueue,
    onWaited: metrics.passwordWaited,
    onRejected: metrics.passwordRejected,
  });
  const authenticator = createAuthenticator({
    htpasswd,
    machines,
    throttle,
    pool,
    credentialTtlMs: auth.credentialTtl,
    maxCredentials: auth.credentialEntries,
    ipc,
  });
  let holders = 1;
  const users: Users = {
    htpasswd,
    machines,
    tokenFiles,
    authenticator,
    pool,
    reread: () => rereadFiles({ 'auth.htpasswd': htpasswd, ...files }),
    share: () => {
      holders += 1;
      return users;
    },
    release: async () => {
      holders -= 1;
      if (holders > 0) return;
      ipc?.leave();
      close();
      await Promise.all([uses.close(), authenticator.close()]);
    },
  };
  return users;
}

/** Opens the machine tokens. @throws OperatorError when their file cannot be used. */
async function openMachines(
  path: string,
  {
    htpasswd,
    throttle,
    logger,
    personalTokens,
  }: Pick<UsersOptions, 'throttle' | 'logger' | 'personalTokens'> & {
    htpasswd: Pick<HtpasswdFile, 'lookup'>;
  },
) {
  const checkPattern = checkGrantPattern;
  const operators = await openTokenListFile({ path, checkPattern, logger });
  const personal = await openTokenListFile({
    ...{ path: personalTokens, checkPattern, isPersonal: true, logger },
  }).catch((error: unknown) => {
    operators.close();
    throw error;
  });
  const tokens = joinTokenLists(operators, personal);
  const hasUser = (name: string) => htpasswd.lookup(name) !== undefined;
  const endSweep = sweepPersonalTokens({
    edited: { file: personalTokens, model: personalTokens, checkPattern },
    ...{ tokens: personal, hasUser, logger },
  });
  const uses = createTokenUseRecorder({
    path: usesPathOf(path),
    isToken: (name) => tokens.find(name) !== undefined,
    logger,
    now: Date.now,
  });
  const machines = createMachineLogins({
    ...{ tokens, hasUser, throttle, uses, logger, now: Date.now },
  });
  const close = () => {
    endSweep();
    operators.close();
    personal.close();
  };
  const files = { 'auth.machineTokens': operators, 'state.dir': personal };
  return { files, tokenFiles: { personal, operators }, uses, machines, close };
}

/** Reads all files by key before any takes effect. @throws OperatorError when one cannot be used. */
async function rereadFiles(
  files: Readonly<Record<string, Pick<HtpasswdFile, 'reread'>>>,
): Promise<RereadUsers> {
  const reread = await Promise.all(
    Object.entries(files).map(async ([key, file]) => ({ key, file: await file.reread() })),
  );
  return {
    changed: reread.flatMap(({ key, file }) => (file.isNew ? [key] : [])),
    use: () => reread.forEach(({ file }) => file.use()),
  };
}
