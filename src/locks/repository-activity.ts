/** Why a held request does not go on: too long a wait, too many held already, or whoever sent it has left. */
export type HoldRefusal = 'late' | 'crowded' | 'gone';

export type HoldLimits = {
  /** How long a request may be held, in milliseconds. */
  readonly waitMs: number;
  /** How many may be held for one repository, and in all. */
  readonly maxPerRepository: number;
  readonly maxInAll: number;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
};

/** Ends what has been entered; at once, or after so many milliseconds when upstream may be at it still. Does nothing a second time. */
export type Leave = (lingerMs?: number) => void;

/** What a process has under way with upstream in each repository that may not meet a delete there. */
export type RepositoryActivity = {
  /** Enters what is about to be sent to upstream; null: one of the repositories is frozen. */
  readonly enter: (repositories: readonly string[]) => Leave | null;
  /** The same, once none of them is frozen; never rejects. */
  readonly wait: (repositories: readonly string[], limits: HoldLimits) => Promise<Leave | HoldRefusal>;
  /** Lets nobody enter until the thaw of the same id, and calls back once when nobody is in. */
  readonly freeze: (repository: string, id: string, onQuiet: () => void) => void;
  /** Those who were held go on, before anybody else. */
  readonly thaw: (repository: string, id: string) => void;
};

type Held = { readonly repositories: readonly string[]; readonly go: (leave: Leave) => void };
type Place = {
  active: number;
  /** What to call for each freeze when nobody is in; null: it has been called. */
  readonly freezes: Map<string, (() => void) | null>;
  readonly held: Set<Held>;
};

/** Creates the activity of one process. Without a delete, entering and leaving cost a look into a map each. */
export function createRepositoryActivity(): RepositoryActivity {
  /** Repositories in which something is under way, frozen or held. */
  const places = new Map<string, Place>();
  let heldInAll = 0;

  const placeOf = (repository: string): Place => {
    let place = places.get(repository);
    if (place === undefined) {
      place = { active: 0, freezes: new Map(), held: new Set() };
      places.set(repository, place);
    }
    return place;
  };
  const tidy = (repository: string, { active, freezes, held }: Place) => {
    if (active === 0 && freezes.size === 0 && held.size === 0) places.delete(repository);
  };
  const findFrozen = (repositories: readonly string[]): Place | undefined => {
    for (const repository of repositories) {
      const place = places.get(repository);
      if (place !== undefined && place.freezes.size > 0) return place;
    }
    return undefined;
  };
  const tellQuiet = ({ freezes }: Place) => {
    for (const [id, onQuiet] of freezes) {
      freezes.set(id, null);
      onQuiet?.();
    }
  };
  const leave = (repositories: readonly string[]) => {
    for (const repository of repositories) {
      const place = placeOf(repository);
      place.active -= 1;
      if (place.active > 0) continue;
      tellQuiet(place);
      tidy(repository, place);
    }
  };

  const enter: RepositoryActivity['enter'] = (repositories) => {
    if (findFrozen(repositories) !== undefined) return null;
    for (const repository of repositories) placeOf(repository).active += 1;
    let isOver = false;
    return (lingerMs = 0) => {
      if (isOver) return;
      isOver = true;
      if (lingerMs === 0) leave(repositories);
      else setTimeout(() => leave(repositories), lingerMs).unref();
    };
  };

  const wait: RepositoryActivity['wait'] = (repositories, limits) =>
    new Promise((resolve) => {
      const { waitMs, maxPerRepository, maxInAll, signal } = limits;
      const entered = enter(repositories);
      if (entered !== null || signal.aborted) {
        resolve(entered ?? 'gone');
        return;
      }
      const queues = () => repositories.map((repository) => placeOf(repository).held);
      if (heldInAll >= maxInAll || queues().some(({ size }) => size >= maxPerRepository)) {
        resolve('crowded');
        return;
      }
      heldInAll += 1;
      const end = (outcome: Leave | HoldRefusal) => {
        heldInAll -= 1;
        clearTimeout(timer);
        signal.removeEventListener('abort', gone);
        for (const repository of repositories) {
          const place = placeOf(repository);
          place.held.delete(held);
          tidy(repository, place);
        }
        resolve(outcome);
      };
      const held: Held = { repositories, go: end };
      const gone = () => end('gone');
      const timer = setTimeout(() => end('late'), waitMs);
      signal.addEventListener('abort', gone, { once: true });
      for (const queue of queues()) queue.add(held);
    });

  return {
    enter,
    wait,
    freeze: (repository, id, onQuiet) => {
      const place = placeOf(repository);
      place.freezes.set(id, onQuiet);
      if (place.active === 0) tellQuiet(place);
    },
    thaw: (repository, id) => {
      const place = placeOf(repository);
      place.freezes.delete(id);
      // One that waits for another repository, too, may have to wait on.
      for (const held of [...place.held]) {
        const entered = enter(held.repositories);
        if (entered !== null) held.go(entered);
      }
      tidy(repository, place);
    },
  };
}
