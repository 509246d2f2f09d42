import type { Logger } from 'pino';
import { createHashKey } from '../../auth/keyed-hash.ts';
import {
  createLoginThrottle,
  type LockOutKind,
  type LoginNotice,
  type LoginThrottle,
} from '../../auth/throttle/login-throttle.ts';
import { createSharedLockOuts } from '../../auth/throttle/shared-lock-outs.ts';
import type { SharedRedis } from '../../redis/open.ts';
import type { Config } from '../../config/schema/schema.ts';
import type { Metrics } from '../../telemetry/metrics/metrics.ts';
import type { WorkerIpc } from '../../system/worker-ipc.ts';

export type LoginThrottleSettings = {
  readonly config: Config;
  readonly redis: SharedRedis;
  readonly logger: Logger;
  /** The other workers; left out: none. */
  readonly ipc?: { readonly logins: WorkerIpc<LoginNotice> };
  /** The key under which workers share right passwords; left out: a new one. */
  readonly loginKey?: Buffer;
};

/** How much longer than the known login its proof is kept, in milliseconds. */
const provenAfterMs = 24 * 60 * 60 * 1000;

const lockOutSentence: Readonly<Record<LockOutKind, string>> = {
  address: 'too many wrong passwords from one address: it is locked out',
  name: 'too many wrong passwords under one name: it is locked out',
  repeat: 'the same wrong password again and again from one address: that password is locked out there',
};

/** Opens the login throttle as configured. */
export async function openLoginThrottle(
  { config, redis, logger, ipc, loginKey }: LoginThrottleSettings,
  metrics: Metrics,
): Promise<LoginThrottle> {
  const { auth, cache, upstream } = config;
  const { addressFailures, nameFailures, repeatFailures, window, lockTime, maxLockTime, entries } =
    auth.throttle;
  const rules = { windowMs: window, lockMs: lockTime, maxLockMs: maxLockTime };
  const address = { ...rules, failures: addressFailures };
  const name = { ...rules, failures: nameFailures };
  const provenTtlMs = auth.credentialTtl + provenAfterMs;
  const now = () => performance.now();
  const shares = cache.driver === 'redis' && addressFailures + nameFailures > 0;
  return createLoginThrottle({
    address,
    name,
    repeat: { ...rules, failures: repeatFailures },
    maxEntries: entries,
    hashKey: loginKey ?? createHashKey(),
    provenTtlMs,
    maxProven: auth.credentialEntries,
    ipc: ipc?.logins,
    shared: shares
      ? createSharedLockOuts({
          redis: await redis.get(),
          keyPrefix: cache.redis.keyPrefix,
          upstreamUrl: upstream.url,
          address,
          name,
          provenTtlMs,
          timeoutMs: cache.redis.timeout,
          now,
        })
      : null,
    events: {
      onThrottled: metrics.throttled,
      onLockOut: (lockOut) => {
        const { kind, network, user, forMs, times } = lockOut;
        logger.warn({ client: network, user, forMs, times }, lockOutSentence[kind]);
        metrics.lockedOut(lockOut);
      },
    },
    now,
  });
}
