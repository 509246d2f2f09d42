import { hash as digest } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { countedUpTo } from '../../system/counted.ts';
import type { WorkerIpc } from '../../system/worker-ipc.ts';
import { clientNetwork } from '../../http/client-network.ts';
import { createLockOuts, type LockOut, type LockOutRules } from './lock-outs.ts';
import { createKnownLogins, type KnownLogin, type KnownLogins } from './known-logins.ts';
import type { SharedLockOuts } from './shared-lock-outs.ts';

/** What a lock-out is for; `repeat`: one name and password, at one address. */
export type LockOutKind = 'address' | 'name' | 'repeat';

const kinds: readonly LockOutKind[] = ['address', 'name', 'repeat'];

/** A login to count; `nameKey` null: it counts for no name. */
type CountedLogin = Omit<KnownLogin, 'nameKey'> & { readonly nameKey: string | null };

/** A message of one worker to the others; `onceInMs` as in {@link LoginThrottle.failed}. */
export type LoginNotice =
  | ({
      readonly kind: 'failed';
      readonly isRepeat: boolean;
      readonly onceInMs: number | null;
    } & CountedLogin)
  | ({ readonly kind: 'proven' } & KnownLogin);

/** A lock-out that has just begun, for logs, metrics and alerts. */
export type LockOutEvent = {
  readonly kind: LockOutKind;
  /** The source of the last failure: an IPv4 address, or an IPv6 network. */
  readonly network: string;
  /** The last tried name, if such a user exists; null if not, since it may be a mistyped password. */
  readonly user: string | null;
  readonly forMs: number;
  /** How many lock-outs there have been in a row. */
  readonly times: number;
};

/** The events of the throttle. */
export type LoginThrottleEvents = {
  /** An attempt was refused because of a lock-out. */
  onThrottled(kind: LockOutKind): void;
  onLockOut(event: LockOutEvent): void;
};

/** An attempt to log in with a password that is not a known login. */
export type LoginAttempt = CountedLogin & {
  readonly user: string | null;
  /** The same login was right before: it is checked despite lock-outs. */
  readonly isExempt: boolean;
};

/** Name and password as they came. */
type Login = {
  readonly address: string;
  /** Null for a machine token, which counts for no name. */
  readonly name: string | null;
  readonly password: string;
  /** What the password will be checked against. */
  readonly hash: string;
  /** Whether that is a user's own. */
  readonly isUser: boolean;
};

/** Locks out clients that guess passwords. */
export type LoginThrottle = {
  /** Begins an attempt, for a known name or not. */
  begin(login: Login): Promise<LoginAttempt>;
  /** How long it is locked out, in milliseconds; 0: it may be checked now. */
  lockedMs(attempt: LoginAttempt): number;
  /** Call it when the attempt was refused because it is locked out. */
  refused(attempt: LoginAttempt): void;
  /**
   * Call it when the password was wrong; resolves when that has been counted, here and elsewhere, to whether it was
   * another than the last times. Never rejects.
   *
   * @param onceInMs counts the same attempt from the same address only once in this time, and for the address only the first of all that have it
   */
  failed(attempt: LoginAttempt, onceInMs?: number): Promise<boolean>;
  /** Call it when the password was right. */
  succeeded(attempt: LoginAttempt): void;
};

export type LoginThrottleOptions = {
  /** The rules per address, per name, and for the same login from one address. */
  readonly address: LockOutRules;
  readonly name: LockOutRules;
  readonly repeat: LockOutRules;
  readonly maxEntries: number;
  /** The key of known logins, the same in all workers. */
  readonly hashKey: Buffer;
  /** How long a right password, and its network, are remembered after the check, in milliseconds. */
  readonly provenTtlMs: number;
  readonly maxProven: number;
  /** The messages to and from the other workers. */
  readonly ipc?: WorkerIpc<LoginNotice> | undefined;
  /** The counts of all instances; null: there is only this one. */
  readonly shared: SharedLockOuts | null;
  readonly events: LoginThrottleEvents;
  readonly now: () => number;
};

/**
 * Counts wrong passwords by client address and by name, and locks out those with too many. A name is locked out whether
 * the user exists or not. A password that was right before is exempt: otherwise anyone who knows a name, or shares an
 * address, could lock out others. The same login again from the same address is not a new guess: a client with an old
 * password sends it with every request of a push. It is counted separately, and locks out nothing else.
 */
export function createLoginThrottle(options: LoginThrottleOptions): LoginThrottle {
  const { maxEntries, now, ipc, shared, events } = options;
  const addresses = createLockOuts({ ...options.address, maxEntries, now });
  const names = createLockOuts({ ...options.name, maxEntries, now });
  const repeats = createLockOuts({ ...options.repeat, maxEntries, now });
  const proven = createKnownLogins({
    hashKey: options.hashKey,
    ttlMs: options.provenTtlMs,
    maxEntries: options.maxProven,
    now,
  });

  const once = createOnceCounts(maxEntries, now);

  const lockedByName = ({ nameKey, network }: CountedLogin): number =>
    // Attempts on a name from elsewhere do not lock out its user at an address with earlier success.
    nameKey === null || proven.hasComeFrom(nameKey, network) ? 0 : names.remainingMs(nameKey);
  const repeatKey = ({ network, proof }: CountedLogin) => `${network} ${proof}`;
  const lockedBy = (attempt: LoginAttempt): Record<LockOutKind, number> =>
    attempt.isExempt
      ? { address: 0, name: 0, repeat: 0 }
      : {
          address: addresses.remainingMs(attempt.network),
          name: lockedByName(attempt),
          repeat: repeats.remainingMs(repeatKey(attempt)),
        };
  const count = (login: CountedLogin, isRepeat: boolean): Record<LockOutKind, LockOut | null> => ({
    address: isRepeat ? null : addresses.count(login.network),
    name: isRepeat || login.nameKey === null ? null : names.count(login.nameKey),
    repeat: repeats.count(repeatKey(login)),
  });

  ipc?.subscribe((notice) => {
    switch (notice.kind) {
      case 'failed':
        if (notice.onceInMs !== null) once.count(notice.network, repeatKey(notice), notice.onceInMs);
        count(notice, notice.isRepeat);
        break;
      case 'proven':
        proven.remember(notice);
        break;
    }
  });

  /** Adopts what other instances know of the attempt. */
  const adoptShared = async ({ nameKey, network }: LoginAttempt): Promise<void> => {
    const known = await shared?.find(network, nameKey);
    if (!known) return;
    if (known.address) addresses.adopt(network, known.address);
    if (nameKey === null) return;
    if (known.name) names.adopt(nameKey, known.name);
    if (known.hasComeFrom) proven.rememberNetwork(nameKey, network);
  };

  return {
    begin: async (login) => {
      const attempt = toAttempt(login, proven);
      if (!attempt.isExempt && addresses.remainingMs(attempt.network) === 0) await adoptShared(attempt);
      return attempt;
    },
    lockedMs: (attempt) => {
      const { address, name, repeat } = lockedBy(attempt);
      return Math.max(address, name, repeat);
    },
    refused: (attempt) => {
      const locked = lockedBy(attempt);
      const longest = Math.max(locked.address, locked.name, locked.repeat);
      events.onThrottled(kinds.find((kind) => locked[kind] === longest) ?? 'address');
    },
    failed: async (attempt, onceInMs) => {
      const { nameKey, network, proof, user } = attempt;
      const key = repeatKey(attempt);
      if (onceInMs !== undefined && once.isCounted(key)) return false;
      const isRepeat = onceInMs === undefined ? repeats.isRecent(key) : once.count(network, key, onceInMs);
      const own = count(attempt, isRepeat);
      const [counted] = await Promise.all([
        isRepeat ? null : shared?.count(network, nameKey),
        ipc?.publish({ kind: 'failed', nameKey, network, proof, isRepeat, onceInMs: onceInMs ?? null }),
      ]);
      if (counted?.address) addresses.adopt(network, counted.address);
      if (counted?.name && nameKey !== null) names.adopt(nameKey, counted.name);
      const begun = { ...own, address: counted?.address ?? own.address, name: counted?.name ?? own.name };
      for (const kind of kinds) {
        const lockOut = begun[kind];
        if (lockOut) events.onLockOut({ kind, network, user, ...lockOut });
      }
      return onceInMs !== undefined || !isRepeat;
    },
    succeeded: ({ nameKey, network, proof }) => {
      if (nameKey === null) return;
      const login = { nameKey, network, proof };
      proven.remember(login);
      void ipc?.publish({ kind: 'proven', ...login });
      shared?.remember(network, nameKey);
    },
  };
}

type OnceCounts = {
  /** Whether this attempt, or this address for another, has been counted lately. */
  isCounted(key: string): boolean;
  /** Gives whether the address has been counted already, for this attempt or another. */
  count(network: string, key: string, onceInMs: number): boolean;
};

/** Remembers which attempts, and which addresses, are not to be counted again for a while. */
function createOnceCounts(maxEntries: number, now: () => number): OnceCounts {
  const untilMs = new LRUCache<string, number>(countedUpTo(maxEntries));
  const isCounted = (key: string) => now() < (untilMs.get(key) ?? -Infinity);
  return {
    isCounted,
    count: (network, key, onceInMs) => {
      const isAddressCounted = isCounted(network);
      untilMs.set(key, now() + onceInMs);
      if (!isAddressCounted) untilMs.set(network, now() + onceInMs);
      return isAddressCounted;
    },
  };
}

function toAttempt({ address, name, password, hash, isUser }: Login, proven: KnownLogins): LoginAttempt {
  const nameKey = name === null ? null : digest('sha256', name, 'base64url');
  // Without a dummy hash, which each process chooses anew.
  const proof = proven.proofOf(name ?? '', password, isUser ? hash : '');
  return {
    nameKey,
    network: clientNetwork(address),
    proof,
    user: isUser ? name : null,
    isExempt: nameKey !== null && proven.isProven(nameKey, proof),
  };
}
