import { nameOf, type Door } from './door.ts';
import { DoorsError } from './doors.ts';
import { formatMinute, minuteMs } from './minute.ts';
import type { KnownDoor, KnownDoors } from './known-doors.ts';

/** Some of them. @throws DoorsError when one is missing or silent, or there is none */
type ReadDoors = () => readonly [Door, ...Door[]];

/** The front doors that are connected now, beside those that ought to be. */
export type PresentDoors = {
  /** All of them. Throws as well while one is starting: nobody knows when its first request comes. */
  readonly all: ReadDoors;
  /** Those that serve. */
  readonly serving: ReadDoors;
  /** The same, whether others are missing or not. */
  list(): readonly Door[];
  /** Resolves when all are here and welcome; for some seconds at most. */
  arrive(): Promise<void>;
  /** How often one has come or gone. */
  changes(): number;
  enter(door: Door): void;
  /** Serves from now on. */
  serve(door: Door): void;
  /** Has been told all that it must know. */
  welcome(door: Door): void;
  /** Returns what it was; null: it was not here, and may have come anew meanwhile. */
  leave(door: Door): Stage | null;
};

type Stage = 'starting' | 'serving' | 'welcome';

/** How long they may take to connect, in milliseconds: longer than they wait between two tries. */
const arrivalMs = 8000;
/** A front door that has said nothing for longer is not relied on. */
const maxSilentMs = 3000;

export function createPresentDoors(known: Pick<KnownDoors, 'list'>): PresentDoors {
  const present = new Map<string, { readonly door: Door; stage: Stage }>();
  /** Called when one has come. */
  const arrivals = new Set<() => void>();
  let changes = 0;

  const list = () => [...present.values()].flatMap(({ door, stage }) => (stage === 'starting' ? [] : [door]));
  const serving: ReadDoors = () => {
    const [first, ...others] = list();
    const vanished = known.list().find(({ id, leftAt }) => leftAt === null && !present.has(id));
    if (vanished !== undefined) throw vanishedError(vanished, first !== undefined);
    if (first === undefined)
      throw new DoorsError(
        'No front door is connected: start Tidegate on this machine with the same configuration, and see its log.',
      );
    const silent = [first, ...others].find(({ peer }) => peer.silentMs() > maxSilentMs);
    if (silent !== undefined)
      throw new DoorsError(`${nameOf(silent.hello.door)} hangs: it has said nothing for 3 seconds.`);
    return [first, ...others];
  };
  const all: ReadDoors = () => {
    const starting = [...present.values()].find(({ stage }) => stage === 'starting');
    if (starting === undefined) return serving();
    throw new DoorsError(
      `${nameOf(starting.door.hello.door)} is starting: nothing is taken until it serves. Try again.`,
    );
  };
  const isWhole = (): boolean => {
    try {
      return all().length > 0 && [...present.values()].every(({ stage }) => stage === 'welcome');
    } catch {
      return false;
    }
  };
  const find = ({ hello, peer }: Door) => {
    const one = present.get(hello.door.id);
    return one?.door.peer === peer ? one : undefined;
  };

  return {
    ...{ all, serving, list },
    arrive: () =>
      new Promise((resolve) => {
        const end = () => {
          clearTimeout(timer);
          arrivals.delete(look);
          resolve();
        };
        const look = () => {
          if (isWhole()) end();
        };
        const timer = setTimeout(end, arrivalMs);
        arrivals.add(look);
        look();
      }),
    changes: () => changes,
    enter: (door) => {
      const { id } = door.hello.door;
      present.get(id)?.door.peer.end();
      present.set(id, { door, stage: door.hello.serves ? 'serving' : 'starting' });
      changes += 1;
    },
    serve: (door) => {
      const one = find(door);
      if (one === undefined) return;
      one.stage = 'serving';
      changes += 1;
    },
    welcome: (door) => {
      const one = find(door);
      if (one !== undefined) one.stage = 'welcome';
      for (const look of arrivals) look();
    },
    leave: (door) => {
      const one = find(door);
      if (one === undefined) return null;
      present.delete(door.hello.door.id);
      changes += 1;
      return one.stage;
    },
  };
}

/** @param isOther whether another one is here, such as the one that was started in its place */
function vanishedError(door: KnownDoor, isOther: boolean): DoorsError {
  const endMs = Math.ceil((door.heardAt + door.graceMs) / minuteMs) * minuteMs;
  return new DoorsError(
    `${nameOf(door)} has vanished without signing off, and may serve on: start Tidegate there, or wait until ${formatMinute(endMs)}, when nobody relies on what it answered.`,
    { endsMs: isOther ? endMs : null },
  );
}
