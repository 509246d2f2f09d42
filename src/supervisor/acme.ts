import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { answerChallenges, type PendingChallenge } from '../acme/challenges.ts';
import { readAccountThumbprint, type AcmeSettings, type OrderLock } from '../acme/keeper.ts';
import { createRenewer, type AcmeStatus } from '../acme/renewer.ts';
import { createSharedChallenges, type SharedChallenges } from '../acme/shared-challenges.ts';
import type { ServedState } from '../app/served-state.ts';
import { findAcmeFolder } from '../config/schema/acme-folder.ts';
import type { Config } from '../config/schema/schema.ts';
import { createRedisLocks } from '../locks/redis-locks.ts';
import { createRedisKeys } from '../redis/keys.ts';
import { createSharedRedis } from '../redis/open.ts';
import type { Serving } from './serving.ts';

/** Orders and renews the server's certificate, once for all processes. */
export type Acme = {
  /** Takes the configuration in effect. With `isAsked`, or where it differs, tries at once what the CA allows. */
  use(config: Config, isAsked: boolean): void;
  /** Null: the certificate is the operator's own. */
  status(): AcmeStatus | null;
  close(): Promise<void>;
};

export async function openAcme({
  config,
  pem,
  serving,
  logger,
}: ServedState & {
  readonly serving: Pick<Serving, 'answerChallenges'>;
  readonly logger: Logger;
}): Promise<Acme> {
  let settings: AcmeSettings | null = null;
  /** The challenges of this instance, and those of others. */
  let own: readonly PendingChallenge[] = [];
  let others: readonly PendingChallenge[] = [];
  const answer = async () =>
    serving.answerChallenges(await answerChallenges([...own, ...others], new Date()));

  const shared = await openShared({ config, pem }, async (challenges) => {
    // Only for our account: whoever can write to Redis must not get a certificate for our hosts.
    const thumbprint = settings === null ? null : await readAccountThumbprint(settings);
    others = challenges.filter(
      (each) => each.thumbprint === thumbprint && settings?.hosts.includes(each.host) === true,
    );
    await answer();
  });
  const renewer = createRenewer({
    logger,
    publish: async (challenges) => {
      own = challenges;
      await answer();
      await shared?.challenges.publish(challenges);
    },
    lock: shared === null ? null : (signal) => shared.lock(settings?.hosts.join(',') ?? '', signal),
  });
  return {
    use: (next, isAsked) => {
      const before = settings;
      settings = readSettings(next);
      if (!isDeepStrictEqual(settings, before)) renewer.use(settings);
      else if (isAsked) renewer.hurry();
    },
    status: () => renewer.status(),
    close: async () => {
      await renewer.close();
      await shared?.close();
    },
  };
}

function readSettings(config: Config): AcmeSettings | null {
  const folder = findAcmeFolder(config);
  if (folder === null) return null;
  const { hosts, email, directory, ca, challenge, keyType, externalAccount } = config.tls.acme;
  const { keyId, hmacKey } = externalAccount;
  return {
    folder,
    ...{ hosts, email, directory, ca, challenge, keyType },
    externalAccount: keyId === null || hmacKey === null ? null : { keyId, hmacKey },
  };
}

/** What instances share. */
type Shared = {
  readonly challenges: SharedChallenges;
  readonly lock: (hosts: string, signal: AbortSignal) => ReturnType<OrderLock>;
  close(): Promise<void>;
};

/** Null: there is no Redis. */
async function openShared(
  { config, pem }: ServedState,
  onOthers: (challenges: readonly PendingChallenge[]) => Promise<void>,
): Promise<Shared | null> {
  const { cache, upstream } = config;
  if (cache.driver !== 'redis') return null;
  const { keyPrefix, timeout: timeoutMs } = cache.redis;
  const connection = createSharedRedis(cache.redis, pem.redisCa);
  const redis = await connection.get();
  const keys = createRedisKeys(keyPrefix, upstream.url);
  const challenges = createSharedChallenges({
    redis,
    keys: { challenges: keys.challenges, answered: keys.challengesAnswered },
    timeoutMs,
    onOthers,
  });
  const locks = createRedisLocks({
    redis,
    keyPrefix,
    upstreamUrl: upstream.url,
    timeoutMs,
    of: 'certificate',
  });
  return {
    challenges,
    lock: async (hosts, signal) => {
      const taken = await locks.acquire(hosts, { waitMs: 0, signal });
      if (typeof taken !== 'string') return taken;
      return taken === 'late' ? 'busy' : 'unavailable';
    },
    close: async () => {
      challenges.close();
      await connection.close();
    },
  };
}
