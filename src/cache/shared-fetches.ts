import type { Answer } from './entry.ts';
import type { Ticket } from './stores/store.ts';

export type FetchOutcome = {
  /** Null: the answer may not be shared. */
  readonly answer: Answer | null;
  /** Resolves when the answer is stored. */
  readonly stored?: Promise<void>;
};

/** Shares fetches from upstream among all who wait for them. */
export type SharedFetches = {
  /**
   * Joins the fetch of this key, or starts one. Only a fetch of the same ticket may be joined: with another ticket, a
   * write has been acknowledged since it was started, and its answer may be older. @throws Error as `start` rejects.
   */
  join(key: string, ticket: Ticket, whenGone: WhenGone, start: StartFetch): Promise<Answer | null>;
};

/** Calls back when the client no longer waits. A fetch for which nobody waits is aborted. */
type WhenGone = (listener: () => void) => void;
type StartFetch = (signal: AbortSignal) => Promise<FetchOutcome>;

type SharedFetch = {
  readonly ticket: Ticket;
  readonly startedAtMs: number;
  readonly answer: Promise<Answer | null>;
  readonly abort: () => void;
  waiting: number;
};

/** A fetch without an answer for longer is not joined: a new one may be faster. In milliseconds. */
const maxJoinMs = 5000;

/** @param now a clock that only goes forward, in milliseconds */
export function createSharedFetches(now: () => number): SharedFetches {
  const fetches = new Map<string, SharedFetch>();

  const add = (key: string, ticket: Ticket, start: StartFetch): SharedFetch => {
    const startedAtMs = now();
    const aborting = new AbortController();
    const fetched = start(aborting.signal);
    const finish = () => {
      if (fetches.get(key) === fetch) fetches.delete(key);
    };
    const abort = () => {
      finish();
      aborting.abort();
    };
    const answer = fetched.then((got) => got.answer);
    const fetch: SharedFetch = { ticket, startedAtMs, answer, abort, waiting: 0 };
    fetches.set(key, fetch);
    // Before it is stored, the next lookup would miss it.
    void fetched.then(({ stored }) => stored).then(finish, finish);
    return fetch;
  };

  return {
    join: (key, ticket, whenGone, start) => {
      const underWay = fetches.get(key);
      const joins = underWay?.ticket === ticket && now() - underWay.startedAtMs < maxJoinMs;
      const fetch = joins ? underWay : add(key, ticket, start);
      fetch.waiting += 1;
      whenGone(() => {
        fetch.waiting -= 1;
        if (fetch.waiting === 0) fetch.abort();
      });
      return fetch.answer;
    },
  };
}
