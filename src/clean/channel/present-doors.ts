import { nameOf, type Door } from './door.ts';
import { DoorsError } from './doors.ts';
import { formatMinute, minuteMs } from './minute.ts';
import type { KnownDoor, KnownDoors } from './known-doors.ts';

/** The front doors that are connected now, beside those that ought to be. */
export type PresentDoors = {
  /** All of them. @throws DoorsError when one is missing or silent, or there is none */
  all(): readonly [Door, ...Door[]];
  /** Resolves when all are here; for some seconds at most. */
  arrive(): Promise<void>;
  /** How often one has come or gone. */
  changes(): number;
  list(): Iterable<Door>;
  enter(door: Door): void;
  /** Has been told all that it must know. */
  welcome(door: Door): void;
  /** Returns whether it was here: it may have come anew meanwhile. */
  leave(door: Door): boolean;
};

/** How long they may take to connect, in milliseconds: longer than they wait between two tries. */
const arrivalMs = 8000;
/** A front door that has said nothing for longer is not relied on. */
const maxSilentMs = 3000;

export function createPresentDoors(known: Pick<KnownDoors, 'list'>): PresentDoors {
  const present = new Map<string, Door>();
  /** Called when one has come. */
  const arrivals = new Set<() => void>();
  let changes = 0;

  const all: PresentDoors['all'] = () => {
    const [first, ...others] = present.values();
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
  const isWhole = (): boolean => {
    try {
      return all().length > 0;
    } catch {
      return false;
    }
  };

  return {
    all,
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
    list: () => present.values(),
    enter: (door) => {
      const { id } = door.hello.door;
      present.get(id)?.peer.end();
      present.set(id, door);
      changes += 1;
    },
    welcome: () => {
      for (const look of arrivals) look();
    },
    leave: ({ hello, peer }) => {
      const { id } = hello.door;
      if (present.get(id)?.peer !== peer) return false;
      present.delete(id);
      changes += 1;
      return true;
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
