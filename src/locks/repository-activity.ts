/** Why a held request is refused: it waited too long, too many are held, or its client has left. */
export type HoldRefusal = 'late' | 'crowded' | 'gone';

export type HoldLimits = {
  /** How long a request may be held, in milliseconds. */
  readonly waitMs: number;
  /** How many requests may be held for one repository, and in all. */
  readonly maxPerRepository: number;
  readonly maxInAll: number;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
};

/** Counts the request as ended, at once or after `lingerMs` if upstream may still act on it. Further calls do nothing. */
export type Leave = (lingerMs?: number) => void;

/** Counts the requests of one process at upstream in each repository, and holds requests where a delete has frozen it. */
export type RepositoryActivity = {
  /** Counts a request that is about to be sent to upstream; null: a repository of it is frozen. */
  readonly enter: (repositories: readonly string[]) => Leave | null;
  /** Does so once none of them is frozen; never rejects. */
  readonly wait: (repositories: readonly string[], limits: HoldLimits) => Promise<Leave | HoldRefusal>;
  /** Lets nothing enter until the thaw with the same id; calls back once, when nothing is in. */
  readonly freeze: (repository: string, id: string, onQuiet: () => void) => void;
  /** Lets held requests go on, before any other. */
  readonly thaw: (repository: string, id: string) => void;
};

type Held = { readonly repositories: readonly string[]; readonly go: (leave: Leave) => void };
type Place = {
  active: number;
  /** The callback of each freeze for when nothing is in; null: already called. */
  readonly freezes: Map<string, (() => void) | null>;
  readonly held: Set<Held>;
};

/** Creates the activity of one process. Without a delete, entering and leaving cost a map lookup each. */
export function createRepositoryActivity(): RepositoryActivity {
  const places = createPlaces();
  let heldInAll = 0;

  const leave = (repositories: readonly string[]) => {
    for (const repository of repositories) {
      const place = places.get(repository);
      place.active -= 1;
      if (place.active > 0) continue;
      callQuiet(place);
      places.tidy(repository);
    }
  };
  const enter: RepositoryActivity['enter'] = (repositories) => {
    if (repositories.some((repository) => places.isFrozen(repository))) return null;
    for (const repository of repositories) places.get(repository).active += 1;
    return leaveOnce(() => leave(repositories));
  };

  const isCrowded = (repositories: readonly string[], { maxPerRepository, maxInAll }: HoldLimits) =>
    heldInAll >= maxInAll ||
    repositories.some((repository) => places.countHeld(repository) >= maxPerRepository);
  const hold = (repositories: readonly string[], limits: HoldLimits): Promise<Leave | HoldRefusal> =>
    new Promise((resolve) => {
      const stopWaiting = onRefusal(limits, (refusal) => end(refusal));
      const held: Held = { repositories, go: (entered) => end(entered) };
      const end = (outcome: Leave | HoldRefusal) => {
        heldInAll -= 1;
        stopWaiting();
        for (const repository of repositories) {
          places.get(repository).held.delete(held);
          places.tidy(repository);
        }
        resolve(outcome);
      };
      heldInAll += 1;
      for (const repository of repositories) places.get(repository).held.add(held);
    });
  const wait: RepositoryActivity['wait'] = async (repositories, limits) => {
    const entered = enter(repositories);
    if (entered !== null) return entered;
    if (limits.signal.aborted) return 'gone';
    return isCrowded(repositories, limits) ? 'crowded' : hold(repositories, limits);
  };

  return {
    enter,
    wait,
    freeze: (repository, id, onQuiet) => {
      const place = places.get(repository);
      place.freezes.set(id, onQuiet);
      if (place.active === 0) callQuiet(place);
    },
    thaw: (repository, id) => {
      const place = places.get(repository);
      place.freezes.delete(id);
      // A request may also wait for another repository.
      for (const held of [...place.held]) {
        const entered = enter(held.repositories);
        if (entered !== null) held.go(entered);
      }
      places.tidy(repository);
    },
  };
}

/** Repositories with requests in progress, freezes or held requests; others are not kept. */
type Places = {
  /** Creates the entry if there is none: the caller must put something in it, or tidy up. */
  get(repository: string): Place;
  tidy(repository: string): void;
  isFrozen(repository: string): boolean;
  countHeld(repository: string): number;
};

function createPlaces(): Places {
  const places = new Map<string, Place>();
  return {
    get: (repository) => {
      let place = places.get(repository);
      if (place === undefined) {
        place = { active: 0, freezes: new Map(), held: new Set() };
        places.set(repository, place);
      }
      return place;
    },
    tidy: (repository) => {
      const place = places.get(repository);
      if (place?.active === 0 && place.freezes.size === 0 && place.held.size === 0) places.delete(repository);
    },
    isFrozen: (repository) => (places.get(repository)?.freezes.size ?? 0) > 0,
    countHeld: (repository) => places.get(repository)?.held.size ?? 0,
  };
}

function callQuiet({ freezes }: Place): void {
  for (const [id, onQuiet] of freezes) {
    freezes.set(id, null);
    onQuiet?.();
  }
}

function leaveOnce(leave: () => void): Leave {
  let hasLeft = false;
  return (lingerMs = 0) => {
    if (hasLeft) return;
    hasLeft = true;
    if (lingerMs === 0) leave();
    else setTimeout(leave, lingerMs).unref();
  };
}

/** Calls back when the request has waited too long, or its client has left. Returns a function that stops both. */
function onRefusal({ waitMs, signal }: HoldLimits, refuse: (refusal: HoldRefusal) => void): () => void {
  const onGone = () => refuse('gone');
  const timer = setTimeout(() => refuse('late'), waitMs);
  signal.addEventListener('abort', onGone, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onGone);
  };
}
