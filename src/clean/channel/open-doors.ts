import type { Socket } from 'node:net';
import { createDoorEvidence } from './door-evidence.ts';
import { createDoorLocks } from './door-locks.ts';
import { createDoorPauses } from './door-pauses.ts';
import { readUsage } from './door-usage.ts';
import { askDoor, type Door } from './door.ts';
import type { Doors } from './doors.ts';
import { openKnownDoors, type KnownDoor } from './known-doors.ts';
import type { CleanStatusNumbers, DoorResponse, Hello, TagAnswer } from './messages.ts';
import { maxWhyLength, parseHello } from './parse-messages.ts';
import { openPeer, PeerError, type Peer, type PeerLimits } from './peer.ts';
import { createPresentDoors } from './present-doors.ts';

/** The front doors, and what connects them. */
export type OpenDoors = {
  readonly doors: Doors;
  /** Takes the connection of a front door, whose hello is still to be read. */
  accept(socket: Socket): void;
  close(): Promise<void>;
};

export type DoorsOptions = {
  /** Where the front doors are remembered. */
  readonly file: string;
  readonly version: string;
  /** `clean.grace`, in milliseconds. */
  readonly graceMs: () => number;
  /** Every manifest that was ever taken. */
  readonly readTaken: () => Promise<readonly string[]>;
  readonly logger: Record<'info' | 'warn', (fields: object, message: string) => void>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly limits?: PeerLimits;
};

/** How long a connection may take to say hello, in milliseconds. */
const helloMs = 5000;
const takenPerMessage = 5000;
/**
 * One that vanishes before it serves has answered nobody. Should it live, it says hello again, and at the latest after
 * the longest wait between two tries.
 */
const startMs = 15_000;

/** @throws OperatorError when the file cannot be read */
export async function openDoors(options: DoorsOptions): Promise<OpenDoors> {
  const { logger, now } = options;
  const known = await openKnownDoors(options.file, now);
  const present = createPresentDoors(known);
  const peers = new Set<Peer>();
  let lastStatus: CleanStatusNumbers | null = null;

  const { all } = present;
  const locks = createDoorLocks(present);
  const pauses = createDoorPauses({ doors: present.serving, ask: askDoor });
  const { check, evidence } = createDoorEvidence({ ...options, all, known, locks });

  const doors: Doors = {
    arrive: () => present.arrive(),
    ...{ check, evidence, lock: locks.lock },
    request: async (request) => (await askDoor(all()[0], { kind: 'request', ...request })) as DoorResponse,
    usage: (question) => readUsage(all(), question),
    announceTaken: async (digests) => {
      for (const door of all()) await tellTaken(door, digests, false);
    },
    removeTag: async (wish) => (await askDoor(all()[0], { kind: 'remove-tag', ...wish })) as TagAnswer,
    pause: (maxPauseMs) => pauses.pause(maxPauseMs),
    publishStatus: (told) => {
      const { lastRun } = told;
      const why = lastRun?.why?.slice(0, maxWhyLength) ?? null;
      const status = { ...told, lastRun: lastRun && { ...lastRun, why } };
      lastStatus = status;
      for (const door of present.list()) void askDoor(door, { kind: 'status', status }).catch(() => {}); // told again with the next
    },
  };

  /** It does not serve yet, and waits until nothing is under way that does not know of it. */
  const expect = async ({ hello, peer }: Door): Promise<void> => {
    await known.note({ ...toKnown(hello, now(), null), graceMs: startMs });
    await locks.untilReleased();
    peer.tell({ kind: 'noted' });
    logger.info({ door: hello.door }, 'a front door is starting');
  };
  const receive = async (door: Door): Promise<void> => {
    const { hello, peer } = door;
    await known.note(toKnown(hello, now(), null));
    await tellTaken(door, await options.readTaken(), true);
    if (lastStatus !== null) await askDoor(door, { kind: 'status', status: lastStatus });
    await pauses.greet(door);
    peer.tell({ kind: 'welcome' });
    logger.info({ door: hello.door }, 'a front door is connected');
    present.welcome(door);
  };
  const take = (door: Door, work: (door: Door) => Promise<void>): void => {
    work(door).catch((error: unknown) => {
      const reason = (error as Error).message;
      logger.warn({ door: door.hello.door, reason }, 'a front door cannot be taken');
      door.peer.end();
    });
  };
  const enter = (door: Door): void => {
    present.enter(door);
    take(door, door.hello.serves ? receive : expect);
  };
  const serve = (door: Door): void => {
    present.serve(door);
    take(door, receive);
  };
  const signOff = async (door: Door): Promise<void> => {
    const { hello } = door;
    if (present.leave(door) === 'starting') await known.forget(hello.door.id);
    else await known.note(toKnown(hello, now(), now()));
    logger.info({ door: hello.door }, 'a front door has signed off');
  };
  /** Its connection has ended. */
  const lose = (door: Door, why: string): void => {
    const stage = present.leave(door);
    if (stage === null) return;
    const { hello } = door;
    const grace = stage === 'starting' ? { graceMs: startMs } : {};
    known.note({ ...toKnown(hello, now(), null), ...grace }).catch((error: unknown) => {
      const reason = (error as Error).message;
      logger.warn({ reason }, 'what is known of the front doors cannot be written');
    });
    logger.warn({ door: hello.door, reason: why }, 'a front door is gone, and has not signed off');
  };

  const accept = (socket: Socket): void => {
    let door: Door | null = null;
    const late = setTimeout(() => socket.destroy(), helloMs).unref();
    const peer = openPeer(socket, {
      ...(options.limits && { limits: options.limits }),
      onTold: (message) => {
        if (door !== null) {
          if (message.kind === 'serving' && !door.hello.serves) serve(door);
          return;
        }
        const hello = parseHello(message);
        clearTimeout(late);
        if (hello === null) {
          logger.warn({ kind: message.kind.slice(0, 50) }, 'a front door of another version is refused');
          peer.end();
          return;
        }
        door = { hello, peer };
        enter(door);
      },
      onAsked: async ({ kind }) => {
        if (kind !== 'bye' || door === null)
          throw new PeerError(`the cleaner cannot do "${kind.slice(0, 50)}"`);
        await signOff(door);
      },
      onClosed: (why, isFault) => {
        clearTimeout(late);
        peers.delete(peer);
        if (isFault)
          logger.warn({ door: door?.hello.door, reason: why }, 'a front door broke the rules of the channel');
        if (door !== null) lose(door, why);
      },
    });
    peers.add(peer);
  };

  return {
    doors,
    accept,
    close: async () => {
      for (const peer of peers) peer.end();
      await Promise.all([...peers].map((peer) => whenClosed(peer)));
    },
  };
}

async function tellTaken(door: Door, digests: readonly string[], isAll: boolean): Promise<void> {
  for (let at = 0; at < digests.length; at += takenPerMessage)
    await askDoor(door, { kind: 'taken', digests: digests.slice(at, at + takenPerMessage), isAll: false });
  if (isAll) await askDoor(door, { kind: 'taken', digests: [], isAll });
}

function toKnown(
  { door: { id, pid, host }, graceMs }: Hello,
  heardAt: number,
  leftAt: number | null,
): KnownDoor {
  return { ...{ id, pid, host, graceMs }, heardAt, leftAt };
}

function whenClosed({ closed }: Peer): Promise<void> {
  return new Promise((resolve) => {
    if (closed.aborted) resolve();
    else closed.addEventListener('abort', () => resolve(), { once: true });
  });
}
