import { hash as digest } from 'node:crypto';
import type { Peers } from '../peers.ts';
import { clientNetwork } from './client-network.ts';
import { createLockOuts, type LockOut, type LockOutRules } from './lock-outs.ts';
import { createProvenLogins, type ProvenLogin } from './proven-logins.ts';
import type { SharedLockOuts } from './shared-lock-outs.ts';

/** What a lock-out is for. */
export type LockOutKind = 'address' | 'name';

/** What one process tells the others that serve with it. */
export type LoginNotice =
  | { readonly kind: 'failed'; readonly nameKey: string; readonly network: string }
  | ({ readonly kind: 'proven' } & ProvenLogin);

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
export type LoginAttempt = ProvenLogin & {
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
  close(): void;
};

export type LoginThrottleOptions = {
  /** Rules for what comes from one address, and for what comes under one name. */
  readonly address: LockOutRules;
  readonly name: LockOutRules;
  readonly maxEntries: number;
  /** The key of what is remembered of right passwords, the same in all processes that serve together. */
  readonly hashKey: Buffer;
  /** How long a right password, and where it came from, is remembered after it was checked, in milliseconds. */
  readonly provenTtlMs: number;
  readonly maxProven: number;
  /** Processes that serve with this one. */
  readonly peers?: Peers<LoginNotice> | undefined;
  /** Counts of all instances; null: there is only this one. */
  readonly shared: SharedLockOuts | null;
  readonly events: LoginThrottleEvents;
  readonly now: () => number;
};

/**
 * Counts wrong passwords by the client's address and by the name they are for, and locks out what has too many. A name is locked
 * out whether there is such a user or not, and no lock-out holds for a password that was right before: else whoever knows
 * a name, or shares an address, could lock others out.
 */
export function createLoginThrottle(options: LoginThrottleOptions): LoginThrottle {
  const { maxEntries, now, peers, shared, events } = options;
  const addresses = createLockOuts({ ...options.address, maxEntries, now });
  const names = createLockOuts({ ...options.name, maxEntries, now });
  const proven = createProvenLogins({
    hashKey: options.hashKey,
    ttlMs: options.provenTtlMs,
    maxEntries: options.maxProven,
    now,
  });

  const lockedByName = ({ nameKey, network }: ProvenLogin): number =>
    // Strangers who try a name from elsewhere do not lock its user out from where he or she has come from before.
    proven.hasComeFrom(nameKey, network) ? 0 : names.remainingMs(nameKey);
  const lockedBy = (attempt: LoginAttempt): Record<LockOutKind, number> =>
    attempt.isExempt
      ? { address: 0, name: 0 }
      : { address: addresses.remainingMs(attempt.network), name: lockedByName(attempt) };

  peers?.onTold((notice) => {
    switch (notice.kind) {
      case 'failed':
        addresses.count(notice.network);
        names.count(notice.nameKey);
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
      const proof = proven.proofOf(name, password, hash);
      const isExempt = proven.isProven(nameKey, proof);
      const attempt = { nameKey, network, proof, user: isUser ? name : null, isExempt };
      if (!isExempt && addresses.remainingMs(network) === 0) await ask(attempt);
      return attempt;
    },
    lockedMs: (attempt) => {
      const { address, name } = lockedBy(attempt);
      return Math.max(address, name);
    },
    refused: (attempt) => {
      const { address, name } = lockedBy(attempt);
      events.onThrottled(address >= name ? 'address' : 'name');
    },
    failed: async ({ nameKey, network, user }) => {
      const own = { address: addresses.count(network), name: names.count(nameKey) };
      const [counted] = await Promise.all([
        shared?.count(network, nameKey),
        peers?.tell({ kind: 'failed', nameKey, network }),
      ]);
      if (counted?.address) addresses.adopt(network, counted.address);
      if (counted?.name) names.adopt(nameKey, counted.name);
      for (const kind of ['address', 'name'] as const) {
        const lockOut: LockOut | null = counted?.[kind] ?? own[kind];
        if (lockOut) events.onLockOut({ kind, network, user, ...lockOut });
      }
    },
    succeeded: ({ nameKey, network, proof }) => {
      const login = { nameKey, network, proof };
      proven.remember(login);
      void peers?.tell({ kind: 'proven', ...login });
      shared?.remember(network, nameKey);
    },
    close: () => shared?.close(),
  };
}
