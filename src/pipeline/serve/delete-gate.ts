import { OciError } from '../../registry/error.ts';
import { parseOperation, type Operation } from '../../registry/operation.ts';
import { deleteConflictOf, digestKey, type DeleteConflict } from '../../registry/delete-conflict.ts';
import type { Leases } from '../../leases/leases.ts';
import { untracedKey } from '../../registry/write-counts.ts';
import { parseTarget } from '../../registry/target.ts';
import { hasFormType } from '../../upstream/request-headers.ts';
import type { RequestUpstream } from '../../upstream/request.ts';
import type { HoldRefusal, Leave, RepositoryActivity } from '../../locks/repository-activity.ts';
import { unsettledMs, type LockRefusal, type RepositoryLocks } from '../../locks/repository-locks.ts';
import type { Exchange } from '../exchange.ts';
import { clientGone } from '../tag-rules/tag-lookup.ts';

/** Isolates deletes from conflicting requests at upstream. */
export type DeleteGate = {
  /** The entry of a request that is about to be forwarded; null for one without conflicts. */
  open(exchange: Exchange, operation: Operation): GatePass | null;
  /**
   * Calls `proceed`, which forwards a DELETE: at once, or, if it deletes what others read or write, when nothing else
   * is in progress in its repository. Everything there is held until upstream has answered. @throws OciError
   * UNAVAILABLE when that does not succeed.
   */
  alone(exchange: Exchange, operation: Operation, proceed: (alone: Alone) => Promise<void>): Promise<void>;
  /** The same function, whose requests pass the gate. */
  guardRequests(requestUpstream: RequestUpstream): RequestUpstream;
};

export type Alone = {
  /** To be called when upstream has answered. */
  readonly answered: () => void;
  /** See ForwardRequest: only upstream's answer tells whether it is over. */
  readonly outlivesClient: () => boolean;
  /** Aborted when it may no longer be alone; null: that cannot happen. */
  readonly lost: AbortSignal | null;
};

/** Call `settled` if upstream has answered, and `close` in any case. */
export type GatePass = {
  /** Whether to enter before upstream has the head, or only before it has the last of the body. */
  readonly from: 'head' | 'body';
  /**
   * Undefined: entered. @throws OciError UNAVAILABLE, as the promise does.
   * @param digest the digest of its body, where only that tells it
   * @param onOver called when upstream no longer acts on it for sure, before any delete can begin
   */
  enter(digest?: string, onOver?: () => void): Promise<void> | undefined;
  settled(): void;
  close(): void;
};

export type DeleteGateOptions = {
  readonly activity: Pick<RepositoryActivity, 'enter' | 'wait'>;
  /** Lets a delete run alone in its repository. */
  readonly locks: RepositoryLocks;
  /** How long a delete waits, and how long requests are held for one, in milliseconds. */
  readonly waitMs: number;
  /** How many deletes may wait for one repository. */
  readonly maxDeletes: number;
  /** How many other requests may be held for one repository, and in all. */
  readonly maxPerRepository: number;
  readonly maxInAll: number;
  /** Counts the writes, and has digests isolated as repositories are; null: nobody asks for either. */
  readonly leases: Pick<Leases, 'noteWrite'> | null;
};

/** What a request keeps from deletes, and what it counts as written. */
type Keys = {
  readonly entered: readonly string[];
  readonly written: readonly string[];
  readonly from: GatePass['from'];
};

/** How long an aborted read may continue at upstream, in milliseconds. */
const readLingerMs = 1000;
const retryAfterSeconds = 5;
/** Tidegate's own requests need no credentials of a client. */
const noOpenPaths: ReadonlySet<string> = new Set();

export function createDeleteGate(options: DeleteGateOptions): DeleteGate {
  const { activity, locks, waitMs, maxDeletes, maxPerRepository, maxInAll, leases } = options;
  const limits = { waitMs, maxPerRepository, maxInAll };

  const keysOf = (operation: Operation): Keys | null => {
    const race = deleteConflictOf(operation);
    if (race === null) {
      // The start of an upload may make the repository's folder.
      const starts = leases !== null && operation.kind === 'upload-start' && operation.method === 'POST';
      return starts ? { entered: [], written: [operation.repository], from: 'head' } : null;
    }
    if (race.kind === 'delete') return null;
    const { repositories, digests } = race;
    const entered = leases === null ? repositories : [...repositories, ...digests];
    return { entered, written: operation.reads || leases === null ? [] : entered, from: race.from };
  };
  const noteWrites = (keys: readonly string[]): void => {
    for (const key of keys) leases?.noteWrite(key);
  };
  /** Counts a write now, and when it is over. @param leave called once, when any lingering is over too; `onOver` before */
  const countWrite = (keys: readonly string[], leave: () => void, onOver = () => {}): Leave => {
    noteWrites(keys);
    let isOver = false;
    const end = () => {
      noteWrites(keys);
      onOver();
      leave();
    };
    return (lingerMs = 0) => {
      if (isOver) return;
      isOver = true;
      if (lingerMs === 0) end();
      else setTimeout(end, lingerMs).unref();
    };
  };

  const openPass = ({ res, method }: Exchange, keys: Keys, from: GatePass['from']): GatePass => {
    let leave: Leave | undefined;
    let isClosed = false;
    /** Ends a wait; a controller for each request would cost as much as parsing one. */
    let stop = () => {};
    const hold = async ({ entered, written }: Keys, onOver: () => void): Promise<void> => {
      const over = new AbortController();
      stop = () => over.abort();
      res.once('close', stop);
      if (res.destroyed || isClosed) stop();
      const outcome = await activity.wait(entered, { ...limits, signal: over.signal });
      res.off('close', stop);
      if (typeof outcome === 'string') throw refuseHeld(outcome, entered);
      if (over.signal.aborted) outcome();
      else leave = written.length === 0 ? outcome : countWrite(written, outcome, onOver);
    };
    return {
      from,
      enter: (digest, onOver = () => {}) => {
        const all = withTrace(
          digest === undefined || leases === null ? keys : withKey(keys, digestKey(digest)),
        );
        const entered = activity.enter(all.entered);
        if (entered === null) return hold(all, onOver);
        leave = all.written.length === 0 ? entered : countWrite(all.written, entered, onOver);
        return undefined;
      },
      settled: () => leave?.(),
      close: () => {
        isClosed = true;
        stop();
        leave?.(method === 'GET' || method === 'HEAD' ? readLingerMs : unsettledMs);
      },
    };
  };

  const alone = async (
    exchange: Exchange,
    { repository, digests }: Extract<DeleteConflict, { kind: 'delete' }>,
    proceed: (alone: Alone) => Promise<void>,
  ): Promise<void> => {
    const { res } = exchange;
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    if (res.destroyed) leave();
    res.once('close', leave);
    const lock = await locks.acquire(repository, { waitMs, maxWaiting: maxDeletes, signal: leaving.signal });
    res.off('close', leave);
    if (typeof lock === 'string') throw refuseDelete(lock, repository);
    let release: Leave | undefined;
    // A delete that continued beside other requests could destroy their results.
    const cut = () => {
      exchange.reason = 'lock-lost';
      if (!res.headersSent) res.destroy();
    };
    try {
      if (!(await lock.isHeld())) throw refuseDelete('unavailable', repository);
      lock.lost?.addEventListener('abort', cut, { once: true });
      release = countWrite([repository, untracedKey(repository), ...digests], () => lock.release());
      await proceed({
        answered: release,
        outlivesClient: () => lock.lost?.aborted !== true,
        lost: lock.lost,
      });
    } finally {
      lock.lost?.removeEventListener('abort', cut);
      // Forwarded, perhaps without an answer: upstream may still execute it.
      if (release === undefined) lock.release();
      else release(exchange.transfer === null ? 0 : unsettledMs);
    }
  };

  return {
    open: (exchange, operation) => {
      const keys = keysOf(operation);
      if (keys === null) return null;
      const { req } = exchange;
      const hasBody = !req.complete || req.readableLength > 0;
      // Upstream may take the digest from a form, before that of the query.
      const isForm = leases !== null && !operation.reads && hasFormType(req.rawHeaders);
      const all = isForm ? withKey(keys, digestKey(null)) : keys;
      return openPass(exchange, all, hasBody ? keys.from : 'head');
    },
    alone: (exchange, operation, proceed) => {
      const race = deleteConflictOf(operation);
      return race?.kind === 'delete'
        ? alone(exchange, race, proceed)
        : proceed({ answered: () => {}, outlivesClient: () => false, lost: null });
    },
    guardRequests: (requestUpstream) => async (asked, fetchLimits) => {
      const known = keysOf(parseOperation(asked.method, parseTarget(asked.rawTarget), noOpenPaths));
      if (known === null) return requestUpstream(asked, fetchLimits);
      const keys = withTrace(known);
      const { signal } = fetchLimits;
      const entered =
        activity.enter(keys.entered) ?? (await activity.wait(keys.entered, { ...limits, signal }));
      if (typeof entered === 'string') throw refuseHeld(entered, keys.entered);
      const leave = keys.written.length === 0 ? entered : countWrite(keys.written, entered);
      try {
        const answer = await requestUpstream(asked, fetchLimits);
        leave();
        return answer;
      } finally {
        leave(asked.method === 'GET' || asked.method === 'HEAD' ? readLingerMs : unsettledMs);
      }
    },
  };
}

function withKey(keys: Keys, key: string): Keys {
  if (keys.entered.includes(key)) return keys;
  return { ...keys, entered: [...keys.entered, key], written: [...keys.written, key] };
}

/** What is written by no digest could be anything. The start of an upload, which enters nothing, makes but a folder. */
function withTrace(keys: Keys): Keys {
  const { entered, written } = keys;
  if (entered.length === 0 || written.length === 0 || written.some((key) => key.includes(':'))) return keys;
  return { ...keys, written: [...written, ...written.map(untracedKey)] };
}

function refuseHeld(refusal: HoldRefusal, [repository = '']: readonly string[]): OciError {
  switch (refusal) {
    case 'gone':
      return clientGone();
    case 'late':
      return unavailable(`A delete in ${repository} has not ended in time`);
    case 'crowded':
      return unavailable(`Too many requests are held by a delete in ${repository}`);
  }
}

function refuseDelete(refusal: LockRefusal, repository: string): OciError {
  switch (refusal) {
    case 'gone':
      return clientGone();
    case 'late':
      return unavailable(`The requests in progress in ${repository} have not ended in time for a delete`);
    case 'crowded':
      return unavailable(`Too many deletes in ${repository} are waiting`);
    case 'unavailable':
      return unavailable(`Other requests in ${repository} could not be ruled out, so nothing was deleted`);
  }
}

function unavailable(why: string): OciError {
  return new OciError('UNAVAILABLE', `${why}: try again in a moment.`, {
    headers: { 'Retry-After': String(retryAfterSeconds) },
  });
}
