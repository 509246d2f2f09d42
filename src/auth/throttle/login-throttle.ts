import { hash as digest } from 'node:crypto';
import type { WorkerIpc } from '../../system/worker-ipc.ts';
import { clientNetwork } from '../../http/client-network.ts';
import { createLockOuts, type LockOut, type LockOutRules } from './lock-outs.ts';
import { createKnownLogins, type KnownLogin } from './known-logins.ts';
import type { SharedLockOuts } from './shared-lock-outs.ts';

/** What a lock-out is for; `repeat`: one name and password, at one address. */
export type LockOutKind = 'address' | 'name' | 'repeat';

const kinds: readonly LockOutKind[] = ['address', 'name', 'repeat'];

/** What one process tells the others that serve with it. */
export type LoginNotice =
  | ({ readonly kind: 'failed'; readonly isRepeat: boolean } & KnownLogin)
  | ({ readonly kind: 'proven' } & KnownLogin);

/** A lock-out that has just begun, for logs, metrics and alerts. */
export type LockOutEvent = {
  readonly kind: LockOutKind;
  /** Where the last failure came from: an IPv4 address, or an IPv6 network. */
  readonly network: string;
  /** The name that was tried last, if there is such a user; null if not, since it may be a password that was mistyped. */
  readonly user: string | null;
  readonly forMs: number;
  /** How many lock-outs there have been in a row. */
  readonly times: number;
};

/** What others may want to know. */
export type LoginThrottleEvents = {
  /** An attempt was refused because of a lock-out. */
  onThrottled(kind: LockOutKind): void;
  onLockOut(event: LockOutEvent): void;
};

/** One password that somebody sends, and that has not been found among those remembered. */
export type LoginAttempt = KnownLogin & {
  readonly user: string | null;
  /** The very same was right before: nothing keeps it from being checked. */
  readonly isExempt: boolean;
};

/** Keeps those who guess passwords from guessing on. */
export type LoginThrottle = {
  /**
   * Begins an attempt, known name or not.
   *
   * @param login hash: what the password will be checked against; isUser: whether that is a user's own
   */
  begin(login: {
    address: string;
    name: string;
    password: string;
    hash: string;
    isUser: boolean;
  }): Promise<LoginAttempt>;
  /** How long no password is checked for it, in milliseconds; 0: it may be checked now. */
  lockedMs(attempt: LoginAttempt): number;
  /** To be called when it was refused because it is locked out. */
  refused(attempt: LoginAttempt): void;
  /** To be called when the password was wrong; resolves when it has been counted, here and elsewhere. Never rejects. */
  failed(attempt: LoginAttempt): Promise<void>;
  /** To be called when the password was right. */
  succeeded(attempt: LoginAttempt): void;
};

export type LoginThrottleOptions = {
  /** Rules for what comes from one address, for what comes under one name, and for the very same from one address. */
  readonly address: LockOutRules;
  readonly name: LockOutRules;
  readonly repeat: LockOutRules;
  readonly maxEntries: number;
  /** The key of what is remembered of right passwords, the same in all processes that serve together. */
  readonly hashKey: Buffer;
  /** How long a right password, and where it came from, is remembered after it was checked, in milliseconds. */
  readonly provenTtlMs: number;
  readonly maxProven: number;
  /** Processes that serve with this one. */
  readonly ipc?: WorkerIpc<LoginNotice> | undefined;
  /** Counts of all instances; null: there is only this one. */
  readonly shared: SharedLockOuts | null;
  readonly events: LoginThrottleEvents;
  readonly now: () => number;
};

/**
 * Counts wrong passwords by the client's address and by the name they are for, and locks out what has too many. A name is locked
 * out whether there is such a user or not, and no lock-out holds for a password that was right before: else whoever knows
 * a name, or shares an address, could lock others out. The very same again from the same address is no further guess: a client that has an old
 * password sends it with every request of a push. It is counted by itself, and locks out nothing else.
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

  const lockedByName = ({ nameKey, network }: KnownLogin): number =>
    // Others who try a name from elsewhere do not lock its user out from where he or she has come from before.
    proven.hasComeFrom(nameKey, network) ? 0 : names.remainingMs(nameKey);
  const repeatKey = ({ network, proof }: KnownLogin) => `${network} ${proof}`;
  const lockedBy = (attempt: LoginAttempt): Record<LockOutKind, number> =>
    attempt.isExempt
      ? { address: 0, name: 0, repeat: 0 }
      : {
          address: addresses.remainingMs(attempt.network),
          name: lockedByName(attempt),
          repeat: repeats.remainingMs(repeatKey(attempt)),
        };
  const count = (login: KnownLogin, isRepeat: boolean): Record<LockOutKind, LockOut | null> => ({
    address: isRepeat ? null : addresses.count(login.network),
    name: isRepeat ? null : names.count(login.nameKey),
    repeat: repeats.count(repeatKey(login)),
  });

  ipc?.subscribe((notice) => {
    switch (notice.kind) {
      case 'failed':
        count(notice, notice.isRepeat);
        break;
      case 'proven':
        proven.remember(notice);
        break;
    }
  });

  /** Learns what other instances know of it. */
  const ask = async ({ nameKey, network }: LoginAttempt): Promise<void> => {
    const known = await shared?.find(network, nameKey);
    if (!known) return;
    if (known.address) addresses.adopt(network, known.address);
    if (known.name) names.adopt(nameKey, known.name);
    if (known.hasComeFrom) proven.rememberNetwork(nameKey, network);
  };

  return {
    begin: async ({ address, name, password, hash, isUser }) => {
      const nameKey = digest('sha256', name, 'base64url');
      const network = clientNetwork(address);
      // Without a decoy's hash, which each process chooses anew.
      const proof = proven.proofOf(name, password, isUser ? hash : '');
      const isExempt = proven.isProven(nameKey, proof);
      const attempt = { nameKey, network, proof, user: isUser ? name : null, isExempt };
      if (!isExempt && addresses.remainingMs(network) === 0) await ask(attempt);
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
    failed: async (attempt) => {
      const { nameKey, network, proof, user } = attempt;
      const isRepeat = repeats.isRecent(repeatKey(attempt));
      const own = count(attempt, isRepeat);
      const [counted] = await Promise.all([
        isRepeat ? null : shared?.count(network, nameKey),
        ipc?.publish({ kind: 'failed', nameKey, network, proof, isRepeat }),
      ]);
      if (counted?.address) addresses.adopt(network, counted.address);
      if (counted?.name) names.adopt(nameKey, counted.name);
      const begun = { ...own, address: counted?.address ?? own.address, name: counted?.name ?? own.name };
      for (const kind of kinds) {
        const lockOut = begun[kind];
        if (lockOut) events.onLockOut({ kind, network, user, ...lockOut });
      }
    },
    succeeded: ({ nameKey, network, proof }) => {
      const login = { nameKey, network, proof };
      proven.remember(login);
      void ipc?.publish({ kind: 'proven', ...login });
      shared?.remember(network, nameKey);
    },
  };
}
