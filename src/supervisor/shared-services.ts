import type { Logger } from 'pino';
import type { ChallengeAnswers } from '../acme/challenges.ts';
import { openDeleteLocks } from '../app/registry/open-deletes.ts';
import type { ServedState } from '../app/served-state.ts';
import { createSessionSecret } from '../app/identity/session-secret.ts';
import { createHashKey } from '../auth/keyed-hash.ts';
import { createFreezer, type FreezeMember } from '../locks/repository-freezer.ts';
import { createRepositoryLocks } from '../locks/repository-locks.ts';
import { createSharedRedis } from '../redis/open.ts';
import { createCleanWorkers } from './clean/clean-processes.ts';
import type { RepositoryLists } from '../inventory/repository-lists.ts';
import { divideLimits } from './divided-limits.ts';
import { answerInventory } from './inventory-channel.ts';
import { createLockServer } from './lock-server.ts';
import type { FromWorker } from './workers/messages.ts';
import { createMetricsCollector } from './metrics-collector.ts';
import { createReloadCoordinator } from './reload-coordinator.ts';
import type { Serving } from './serving.ts';
import type { UsageSink } from '../usage/usage-buffer.ts';
import { createWorkerBroadcast, type BroadcastMember } from './workers/worker-broadcast.ts';

/**
 * How long a worker may take to act on a write through another, in milliseconds. One that hangs for longer is killed,
 * and only then the write continues: otherwise it could serve older manifests later.
 */
const actLimitMs = 5000;
/** How long a worker may take to report its counts, in milliseconds; after that its last report counts. */
const reportLimitMs = 1000;

/** A worker as all services see it. */
export type WorkerMember = BroadcastMember & FreezeMember;

/** The messages of a worker that are for no service. */
type OfItself = Extract<FromWorker, { kind: 'ready' | 'listening' | 'failed' | 'waiting' }>;

/** The services of the primary process for all workers: news, reloads, locks, deletes, counts and the record of usage. */
export type SharedServices = Pick<Serving, 'reports' | 'prepare' | 'answerChallenges' | 'clean'> & {
  /** Adds a worker that listens for messages, and sends it its initial state. */
  join(member: WorkerMember): void;
  /** The worker serves now, and is counted. */
  listening(member: WorkerMember): void;
  /** The worker is gone. */
  leave(member: WorkerMember): void;
  receive(member: WorkerMember, message: Exclude<FromWorker, OfItself>): void;
  /** Checks that each worker is alive; gives up one that does not answer in time. */
  check(): void;
  close(): Promise<void>;
};

export async function openSharedServices({
  config,
  pem,
  logger,
  usage,
  lists,
}: ServedState & {
  logger: Logger;
  usage: UsageSink | null;
  lists: RepositoryLists | null;
}): Promise<SharedServices> {
  const broadcast = createWorkerBroadcast({ limitMs: actLimitMs, now: () => performance.now() });
  const freezer = createFreezer();
  const redis = createSharedRedis(config.cache.redis, pem.redisCa);
  const deletes = await openDeleteLocks({ config, pem, redis, logger }, freezer);
  const locks = {
    tags: createLockServer('tags', createRepositoryLocks()),
    deletes: createLockServer('deletes', deletes.locks),
  };
  const reloads = createReloadCoordinator({ config: divideLimits(config), pem });
  const metrics = createMetricsCollector<WorkerMember>({
    ask: (member) => member.send({ kind: 'report' }),
    limitMs: reportLimitMs,
  });
  const cleanWorkers = createCleanWorkers(() => Date.now());
  const secrets = {
    loginKey: createHashKey().toString('base64'),
    sessionSecret: createSessionSecret().toString('base64'),
  };
  let challenges: ChallengeAnswers = { tls: {}, http: {} };
  return {
    join: (member) => {
      freezer.join(member);
      cleanWorkers.join(member);
      reloads.join(member, (state) => {
        const underWay = broadcast.join(member);
        const logins = broadcast.logins();
        member.send({ kind: 'start', state, underWay, logins, challenges, ...secrets });
      });
    },
    listening: (member) => metrics.join(member),
    leave: (member) => {
      broadcast.leave(member);
      reloads.leave(member);
      locks.tags.leave(member);
      locks.deletes.leave(member);
      freezer.leave(member);
      metrics.leave(member);
      cleanWorkers.leave(member);
    },
    receive: (member, message) => {
      switch (message.kind) {
        case 'prepared':
        case 'committed':
          reloads.heard(member, message);
          break;
        case 'publish':
          broadcast.publish(member, message.number, message.notice);
          break;
        case 'acknowledged':
          broadcast.acknowledged(member, message.number);
          break;
        case 'report':
          metrics.received(member, message.report);
          break;
        case 'lock':
        case 'unlock':
          locks[message.of].heard(member, message);
          break;
        case 'usage':
          void usage?.add(message.batch).then(() => member.send({ kind: 'usage-taken' }));
          break;
        case 'inventory-ask':
          void answerInventory(lists, message).then((answer) => member.send(answer));
          break;
        case 'clean-answer':
          cleanWorkers.heard(member, message);
          break;
        case 'quiet':
          freezer.quiet(member, message.id);
          break;
      }
    },
    check: () => broadcast.check(),
    clean: { processes: cleanWorkers, locks: deletes.locks, peers: deletes.peers },
    reports: () => metrics.collect(),
    prepare: (next, options) =>
      reloads.prepare({ config: divideLimits(next.config), pem: next.pem }, options),
    answerChallenges: (next) => {
      challenges = next;
      return broadcast.answerChallenges(next);
    },
    close: async () => {
      await deletes.close();
      await redis.close();
    },
  };
}
