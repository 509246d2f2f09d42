import type { Logger } from 'pino';
import type { IssuerKeysPool } from '../auth/oidc/issuer-keys-pool.ts';
import type { RepositoryLists } from '../inventory/repository-lists.ts';
import type { LoginThrottle } from '../auth/throttle/login-throttle.ts';
import type { CacheCounters } from '../cache/answer-cache.ts';
import type { CacheStore } from '../cache/stores/store.ts';
import type { RepositoryLocks } from '../locks/repository-locks.ts';
import type { WritePause } from '../locks/write-pause.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import type { UsageNotes } from '../usage/usage-notes.ts';
import type { Deletes } from './registry/open-deletes.ts';

/** What outlives a service: a write through one must invalidate the answers of the next. */
export type Shared = {
  readonly store: CacheStore | null;
  readonly counters: CacheCounters;
  readonly locks: RepositoryLocks;
  readonly deletes: Deletes;
  readonly writePause: WritePause;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly sessionSecret: Buffer;
  readonly throttle: LoginThrottle;
  readonly issuerKeys: IssuerKeysPool;
  readonly usage: UsageNotes | null;
  /** Null: nothing is known but what the registry says. */
  readonly lists: RepositoryLists | null;
};
