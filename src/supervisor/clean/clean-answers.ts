import type { Logger } from 'pino';
import type { OpenDeleteLocks } from '../../app/registry/open-deletes.ts';
import type { DoorAsk, Evidence } from '../../clean/channel/messages.ts';
import type { UsageRecord } from '../../usage/usage-record.ts';
import { createCleanLocks } from './clean-locks.ts';
import { joinEvidence, type CleanProcesses } from './clean-processes.ts';

/** What the clean-up needs of the serving processes. */
export type CleanParts = Pick<OpenDeleteLocks, 'locks' | 'peers'> & {
  readonly processes: CleanProcesses;
};

/** What the serving processes do for the cleaner. */
export type CleanAnswers = {
  /** All but `status`, which is for none of them. */
  answer(ask: Exclude<DoorAsk, { kind: 'status' }>): Promise<unknown>;
  /** Releases what the cleaner has locked: nobody knows of it any more. */
  releaseLocks(): Promise<void>;
  /** Ends the pause of their start, in which the cleaner may be: there is none. */
  endStart(): void;
};

export type CleanAnswersOptions = CleanParts & {
  readonly usage: Pick<UsageRecord, 'page'> | null;
  readonly logger: Logger;
  /** The registry's address. */
  readonly upstream: () => string;
  /** How long the cleaner has said nothing, in milliseconds. */
  readonly silentMs: () => number;
};

/** How long the serving processes may take to tell, in milliseconds. */
const evidenceMs = 5000;
const requestMs = 60_000;
const pauseMs = 2000;

export function createCleanAnswers(options: CleanAnswersOptions): CleanAnswers {
  const { processes, peers } = options;
  const locks = createCleanLocks(options);

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
      epoch: `${epoch} ${joined.epoch} ${options.upstream()}`,
      held,
      leasesSince: Math.max(since, processes.lostAtMs()),
      ...{ leases, writes, digestWrites },
      redis: peers(),
    };
  };

  return {
    answer: async (ask) => {
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
          return options.usage?.page(ask.question) ?? null;
        case 'pause': {
          const answers = await processes.performAll(ask, pauseMs);
          return { quiet: answers.every(({ quiet }) => quiet) };
        }
        case 'resume':
          await processes.performAll(ask, pauseMs);
          return null;
      }
    },
    releaseLocks: () => locks.releaseAll(),
    endStart: () => void processes.performAll({ kind: 'end-start' }, pauseMs).catch(() => {}),
  };
}
