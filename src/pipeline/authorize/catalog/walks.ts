import { OciError } from '../../../registry/error.ts';

/** The owner of a walk through upstream's list. */
export type Walker = {
  /** One walk at a time runs for this: a user, or all anonymous clients. */
  readonly group: string;
  /** Waiting walks are counted for this: a user, or an address. */
  readonly client: string;
};

/** Walks through upstream's lists: few at a time, and equal ones once. */
export type Walks = {
  /**
   * Runs a walk when its turn comes. Equal requests join a waiting walk, but not a running one, which may have missed
   * what the client knows to exist.
   *
   * @param walk must end when its signal aborts, since nobody waits for it any more
   * @throws OciError TOOMANYREQUESTS, or UNAVAILABLE, when too many wait
   */
  run<T>(
    key: string,
    walker: Walker,
    walk: (signal: AbortSignal) => Promise<T>,
    left: AbortSignal,
  ): Promise<T>;
};

export type WalksOptions = {
  readonly maxUnderWay: number;
  readonly maxWaiting: number;
  readonly maxWaitingOfClient: number;
  /** Called for each request refused because its own client has too many waiting. */
  readonly onThrottled: () => void;
};

type Walk = Walker & {
  readonly key: string;
  readonly result: Promise<unknown>;
  readonly begin: () => void;
  readonly abandon: () => void;
  clients: number;
};

/** The Retry-After, in seconds. */
const retryAfterS = 5;

export function createWalks(options: WalksOptions): Walks {
  const { maxUnderWay, maxWaiting, maxWaitingOfClient, onThrottled } = options;
  let waiting: Walk[] = [];
  const underWay = new Set<Walk>();

  const isFree = ({ key, group }: Walk) =>
    [...underWay].every((walk) => walk.key !== key && walk.group !== group);
  const beginNext = () => {
    while (underWay.size < maxUnderWay) {
      const next = waiting.find(isFree);
      if (!next) return;
      waiting = waiting.filter((walk) => walk !== next);
      underWay.add(next);
      next.begin();
    }
  };
  const add = (key: string, walker: Walker, act: (signal: AbortSignal) => Promise<unknown>): Walk => {
    if (waiting.filter(({ client }) => client === walker.client).length >= maxWaitingOfClient) {
      onThrottled();
      throw refusal('TOOMANYREQUESTS', 'You ask for too many lists of repositories at once: wait for some.');
    }
    if (waiting.length >= maxWaiting)
      throw refusal('UNAVAILABLE', 'Too many lists of repositories are being built; try again in a moment.');
    const leaving = new AbortController();
    let begin = () => {};
    const turn = new Promise<void>((resolve) => (begin = resolve));
    const result = turn.then(() => act(leaving.signal));
    const end = () => {
      underWay.delete(walk);
      beginNext();
    };
    const abandon = () => {
      waiting = waiting.filter((other) => other !== walk);
      leaving.abort();
    };
    const walk: Walk = { ...walker, key, result, begin, abandon, clients: 0 };
    result.then(end, end);
    waiting.push(walk);
    return walk;
  };

  return {
    run: async <T>(
      key: string,
      walker: Walker,
      act: (signal: AbortSignal) => Promise<T>,
      left: AbortSignal,
    ): Promise<T> => {
      const walk = waiting.find((other) => other.key === key) ?? add(key, walker, act);
      walk.clients += 1;
      beginNext();
      return new Promise<T>((resolve, reject) => {
        left.addEventListener('abort', () => {
          walk.clients -= 1;
          if (walk.clients === 0) walk.abandon();
          reject(left.reason as Error);
        });
        // Equal keys have results of the same type.
        (walk.result as Promise<T>).then(resolve, reject);
      });
    },
  };
}

function refusal(code: 'TOOMANYREQUESTS' | 'UNAVAILABLE', sentence: string): OciError {
  return new OciError(code, sentence, { headers: { 'Retry-After': String(retryAfterS) } });
}
