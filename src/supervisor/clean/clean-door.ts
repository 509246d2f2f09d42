import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { CleanState } from '../../admin/server-status.ts';
import type { OpenDeleteLocks } from '../../app/open-deletes.ts';
import { openDoorConnection, type DoorConnection } from '../../clean/channel/door-connection.ts';
import type { CleanStatusNumbers, DoorAsk, Evidence, Hello } from '../../clean/channel/messages.ts';
import { isCleaned } from '../../config/schema/is-cleaned.ts';
import type { Config } from '../../config/schema/schema.ts';
import { version } from '../../config/version.ts';
import type { UsageRecord } from '../../usage/usage-record.ts';
import { createCleanLocks } from './clean-locks.ts';
import { joinEvidence, type CleanProcesses } from './clean-processes.ts';

/** What the clean-up needs of the serving processes. */
export type CleanParts = Pick<OpenDeleteLocks, 'locks' | 'peers'> & {
  readonly processes: CleanProcesses;
};

/** This front door as the cleaner's partner. */
export type CleanDoor = {
  /** Connects to the cleaner while the configuration says that there may be one. */
  use(config: Config): void;
  state(): CleanState;
  /** Signs off. Call it when nobody is served any more. */
  close(): Promise<void>;
};

export type CleanDoorOptions = CleanParts & {
  readonly usage: Pick<UsageRecord, 'page'> | null;
  readonly logger: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** How long the serving processes may take to tell, in milliseconds. */
const evidenceMs = 5000;
const requestMs = 60_000;
const pauseMs = 2000;

export function createCleanDoor(options: CleanDoorOptions): CleanDoor {
  const { processes, peers, logger, now } = options;
  const id = randomBytes(12).toString('hex');
  const startedAtMs = now();
  let config: Config | null = null;
  let connection: DoorConnection | null = null;
  let told: CleanStatusNumbers | null = null;

  const locks = createCleanLocks({
    ...{ locks: options.locks, processes, logger },
    silentMs: () => connection?.silentMs() ?? Infinity,
  });
  processes.onJoin(() => connection?.renew());
  const leasesSince = () => Math.max(startedAtMs, processes.lostAtMs());

  const hello = (): Hello => ({
    kind: 'hello',
    door: { id, pid: process.pid, host: hostname(), version },
    leasesSince: leasesSince(),
    graceMs: config?.clean.grace ?? 0,
    redis: peers(),
  });
  const tellEvidence = async ({
    lockId,
    repositories,
    digests,
  }: Extract<DoorAsk, { kind: 'evidence' }>): Promise<Evidence> => {
    const epoch = processes.epoch();
    const parts = await processes.performAll({ kind: 'evidence', repositories, digests }, evidenceMs);
    const joined = joinEvidence(parts);
    if (joined === null) throw new Error('nothing is cleaned up here: upstream.storage is not set');
    const held = lockId !== null && (await locks.isHeld(lockId));
    const { since, leases, writes, digestWrites } = joined;
    return {
      // With another registry, what was written through this front door is another story, too.
      epoch: `${epoch} ${joined.epoch} ${config?.upstream.url ?? ''}`,
      held,
      leasesSince: Math.max(since, processes.lostAtMs()),
      ...{ leases, writes, digestWrites },
      redis: peers(),
    };
  };

  const answer = async (ask: DoorAsk): Promise<unknown> => {
    switch (ask.kind) {
      case 'lock':
        return locks.lock(ask);
      case 'unlock':
        return locks.unlock(ask.id);
      case 'evidence':
        return tellEvidence(ask);
      case 'delete': {
        const { repository, what, digest } = ask;
        return locks.delete(ask.lockId, { repository, what, digest });
      }
      case 'request':
      case 'remove-tag':
        return processes.perform(ask, AbortSignal.timeout(requestMs));
      case 'taken':
        await processes.performAll(ask, evidenceMs);
        return null;
      case 'usage':
        return options.usage?.page(ask.question) ?? { asOf: now(), since: now(), rows: [], next: null };
      case 'status':
        told = ask.status;
        return null;
      case 'pause': {
        const answers = await processes.performAll(ask, pauseMs);
        return { quiet: answers.every(({ quiet }) => quiet) };
      }
      case 'resume':
        await processes.performAll(ask, pauseMs);
        return null;
    }
  };

  const open = (path: string): DoorConnection =>
    openDoorConnection({
      ...{ path, hello, answer, logger },
      onGone: () => void locks.releaseAll(),
      // Pauses of a cleaner that died end by themselves, once its collector has ended.
      onAbsent: () => void processes.performAll({ kind: 'end-start' }, pauseMs).catch(() => {}),
    });
  const close = async (): Promise<void> => {
    const closing = connection;
    connection = null;
    await locks.releaseAll();
    await closing?.close();
  };

  return {
    use: (next) => {
      const before = config;
      config = next;
      if (!isCleaned(next)) void close();
      else if (connection === null) connection = open(next.clean.socket);
      // The hello says another grace; another storage has another record of what was taken.
      else if (before?.clean.grace !== next.clean.grace || before.upstream.storage !== next.upstream.storage)
        connection.renew();
    },
    state: () => (connection === null ? null : { isConnected: connection.isConnected(), told }),
    close,
  };
}
