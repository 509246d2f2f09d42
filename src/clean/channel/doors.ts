import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { UsageAnswer, UsageQuestion } from '../../usage/usage-question.ts';
import type { UsagePage } from '../../usage/usage-record.ts';
import type { UsageTimes } from '../../usage/usage-server.ts';
import { createDoorPauses, type DoorPause } from './door-pauses.ts';
import { openKnownDoors, type KnownDoor } from './known-doors.ts';
import type {
  CleanStatusNumbers,
  DeleteAnswer,
  DeleteWish,
  DoorAsk,
  DoorRequest,
  DoorResponse,
  Evidence,
  EvidenceQuestion,
  Hello,
  LockAnswer,
  TagAnswer,
  TagWish,
} from './messages.ts';
import { maxWhyLength, parseEvidence, parseHello } from './parse-messages.ts';
import { openPeer, PeerError, type Peer, type PeerLimits } from './peer.ts';

/** The front doors cannot do what they must, as a sentence that says why: the run ends. */
export class DoorsError extends Error {
  override readonly name = 'DoorsError';
}

/** The front doors of a registry, as the cleaner sees them. Each call throws DoorsError. */
export type Doors = {
  /** Waits until front doors have connected, or connected again; for some seconds at most. */
  arrive(): Promise<void>;
  /**
   * Checks that every front door is here: none is missing or silent, they share a Redis, and agree about `clean.grace`
   * and their version.
   */
  check(): Promise<DoorsFacts>;
  /**
   * Locks repositories and digests (`digest:other` for those that are not sha256) at all front doors; at most
   * {@link maxLockKeys}. Null: not reached in time, try later.
   */
  lock(keys: readonly string[], waitMs?: number): Promise<DoorLock | null>;
  evidence(
    question: Partial<EvidenceQuestion> & { readonly lock?: DoorLock | undefined },
  ): Promise<MergedEvidence>;
  /** Sends a request to the registry through one of them. */
  request(request: DoorRequest): Promise<DoorResponse>;
  /**
   * Reads the records of usage of all front doors, page by page: the same name may come more than once. Every pull since
   * `since` is in them.
   */
  usage<Question extends UsageQuestion>(
    question: Question,
  ): AsyncIterable<UsageTimes & { readonly rows: readonly UsageAnswer<Question>[] }>;
  /** Resolves when all of them know that these manifests were taken. */
  announceTaken(digests: readonly string[]): Promise<void>;
  removeTag(wish: TagWish): Promise<TagAnswer>;
  /** Holds writes, and waits until none is under way. Null: they did not end in time. */
  pause(maxPauseMs: number): Promise<DoorPause | null>;
  publishStatus(status: CleanStatusNumbers): void;
};

/** The most keys of one lock. */
export const maxLockKeys = 200;

export type DoorsFacts = {
  /** Since when every lease is known, in milliseconds since the epoch. */
  readonly leasesSince: number;
  readonly graceMs: number;
  readonly doors: readonly Hello['door'][];
};

/** The evidence of all front doors: the latest leases, summed counts. `held`: the lock was held at all of them. */
export type MergedEvidence = Omit<Evidence, 'redis'>;

export type DoorLock = {
  /** Deletes at the registry. Returns its status; null: unknown whether it acted. */
  deleteManifest(repository: string, digest: string): Promise<number | null>;
  deleteBlob(repository: string, digest: string): Promise<number | null>;
  /** Whether it was held at the last evidence, at most half a second ago. */
  isSure(): boolean;
  release(): Promise<void>;
};

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

/** A front door that is connected. */
type Door = { readonly hello: Hello; readonly peer: Peer };
type AskKind = DoorAsk['kind'];

/** How long they may take to connect, in milliseconds: longer than they wait between two tries. */
const arrivalMs = 8000;
const helloMs = 5000;
/** How long a front door may take to answer, in milliseconds: longer than it may take inside. */
const limitsMs = {
  lock: 10_000,
  unlock: 45_000,
  evidence: 6000,
  delete: 45_000,
  'remove-tag': 65_000,
  request: 65_000,
  taken: 10_000,
  usage: 30_000,
  pause: 5000,
  resume: 5000,
  status: 10_000,
} satisfies Record<AskKind, number>;
/** A front door that has said nothing for longer is not relied on. */
const maxSilentMs = 3000;
/** How long after evidence a lock is sure: a front door that loses it lets nothing through for longer. */
const sureMs = 500;
const defaultWaitMs = 50;
const takenPerMessage = 5000;

/** @throws OperatorError when the file cannot be read */
export async function openDoors(options: DoorsOptions): Promise<OpenDoors> {
  const { version, graceMs, logger, now } = options;
  const known = await openKnownDoors(options.file, now);
  const present = new Map<string, Door>();
  const peers = new Set<Peer>();
  const lockDoors = new WeakMap<DoorLock, HeldLock>();
  /** Called when one has connected. */
  const arrivals = new Set<() => void>();
  /** How often one has come or gone. */
  let changes = 0;
  let lastStatus: CleanStatusNumbers | null = null;

  /** The front doors that are here. @throws DoorsError unless all are */
  const all = (): readonly [Door, ...Door[]] => {
    const [first, ...others] = present.values();
    const vanished = known.list().find(({ id, leftAt }) => leftAt === null && !present.has(id));
    if (vanished !== undefined) throw new DoorsError(describeVanished(vanished));
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

  const readEvidence = async (
    question: EvidenceQuestion,
    lock: HeldLock | undefined,
  ): Promise<AllEvidence> => {
    const doors = all();
    const parts = await Promise.all(
      doors.map(async (door) => {
        const lockId = door === lock?.door ? lock.id : null;
        const answer = await ask(door, { kind: 'evidence', lockId, ...question });
        const evidence = parseEvidence(answer, question);
        if (evidence === null)
          throw new DoorsError(
            `${nameOf(door.hello.door)} cannot be relied on: it did not tell all that it was asked.`,
          );
        return evidence;
      }),
    );
    // None may have come or gone meanwhile.
    const after = all();
    if (after.length !== doors.length || after.some((door, i) => door !== doors[i]))
      throw new DoorsError('A front door came or went while the others told what they had answered.');
    const evidence = { doors, parts };
    const hellos = doors.map(({ hello }) => hello);
    // Also of one that has come in the middle of a run: no lock at another holds its requests.
    const fault = findDisagreement(hellos, version, graceMs()) ?? findRedisFault(evidence);
    if (fault !== null) throw new DoorsError(fault);
    return evidence;
  };
  const findLeasesSince = ({ parts }: AllEvidence): number =>
    Math.max(
      ...parts.map(({ leasesSince }) => leasesSince),
      ...known.list().map(({ leftAt }) => leftAt ?? 0),
    );

  const lock: Doors['lock'] = async (keys, waitMs = defaultWaitMs) => {
    if (keys.length === 0 || keys.length > maxLockKeys)
      throw new DoorsError(`A lock has 1 to ${maxLockKeys} keys, not ${keys.length}.`);
    const [door] = all();
    const id = randomBytes(8).toString('hex');
    const { locked } = (await ask(door, { kind: 'lock', id, keys, waitMs })) as LockAnswer;
    if (!locked) return null;
    const held = createHeldLock(door, id, () => changes);
    lockDoors.set(held.lock, held);
    return held.lock;
  };

  const pauses = createDoorPauses({ doors: all, ask });

  const doors: Doors = {
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
    check: async () => {
      const evidence = await readEvidence({ repositories: [], digests: [] }, undefined);
      return {
        leasesSince: findLeasesSince(evidence),
        graceMs: graceMs(),
        doors: evidence.doors.map(({ hello }) => hello.door),
      };
    },
    lock,
    evidence: async ({ repositories = [], digests = [], lock: of }) => {
      const held = of && lockDoors.get(of);
      const askedMs = performance.now();
      const evidence = await readEvidence({ repositories, digests }, held);
      const merged = mergeEvidence(evidence, findLeasesSince(evidence));
      if (held) {
        held.sureUntilMs = merged.held ? askedMs + sureMs : -Infinity;
        held.sureAtChange = changes;
      }
      return merged;
    },
    request: async (request) => (await ask(all()[0], { kind: 'request', ...request })) as DoorResponse,
    usage: (question) => readUsage(all(), question),
    announceTaken: async (digests) => {
      for (const door of all()) await tellTaken(door, digests, false);
    },
    removeTag: async (wish) => (await ask(all()[0], { kind: 'remove-tag', ...wish })) as TagAnswer,
    pause: (maxPauseMs) => pauses.pause(maxPauseMs),
    publishStatus: (told) => {
      const { lastRun } = told;
      const why = lastRun?.why?.slice(0, maxWhyLength) ?? null;
      const status = { ...told, lastRun: lastRun && { ...lastRun, why } };
      lastStatus = status;
      for (const door of present.values()) void ask(door, { kind: 'status', status }).catch(() => {}); // told again with the next
    },
  };

  const enter = async (hello: Hello, peer: Peer): Promise<void> => {
    const { id } = hello.door;
    const door = { hello, peer };
    present.get(id)?.peer.end();
    present.set(id, door);
    changes += 1;
    try {
      await known.note(toKnown(hello, now(), null));
      await tellTaken(door, await options.readTaken(), true);
      if (lastStatus !== null) await ask(door, { kind: 'status', status: lastStatus });
      await pauses.greet(door);
      peer.tell({ kind: 'welcome' });
      logger.info({ door: hello.door }, 'a front door is connected');
      for (const look of arrivals) look();
    } catch (error) {
      logger.warn({ door: hello.door, reason: (error as Error).message }, 'a front door cannot be taken');
      peer.end();
    }
  };

  const accept = (socket: Socket): void => {
    let hello: Hello | null = null;
    let hasLeft = false;
    const late = setTimeout(() => socket.destroy(), helloMs).unref();
    const peer = openPeer(socket, {
      ...(options.limits && { limits: options.limits }),
      onTold: (message) => {
        if (hello !== null) return;
        hello = parseHello(message);
        clearTimeout(late);
        if (hello === null) {
          logger.warn({ kind: message.kind.slice(0, 50) }, 'a front door of another version is refused');
          peer.end();
        } else void enter(hello, peer);
      },
      onAsked: async ({ kind }) => {
        if (kind !== 'bye' || hello === null)
          throw new PeerError(`the cleaner cannot do "${kind.slice(0, 50)}"`);
        hasLeft = true;
        present.delete(hello.door.id);
        changes += 1;
        await known.note(toKnown(hello, now(), now()));
        logger.info({ door: hello.door }, 'a front door has signed off');
      },
      onClosed: (why, isFault) => {
        clearTimeout(late);
        peers.delete(peer);
        if (isFault)
          logger.warn({ door: hello?.door, reason: why }, 'a front door broke the rules of the channel');
        if (hello === null || hasLeft || present.get(hello.door.id)?.peer !== peer) return;
        present.delete(hello.door.id);
        changes += 1;
        known.note(toKnown(hello, now(), null)).catch((error: unknown) => {
          logger.warn(
            { reason: (error as Error).message },
            'what is known of the front doors cannot be written',
          );
        });
        logger.warn({ door: hello.door, reason: why }, 'a front door is gone, and has not signed off');
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

/** @throws DoorsError */
async function ask({ hello, peer }: Door, message: DoorAsk): Promise<unknown> {
  try {
    return await peer.ask(message, limitsMs[message.kind]);
  } catch (error) {
    throw new DoorsError(`${nameOf(hello.door)} cannot be relied on: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

async function tellTaken(door: Door, digests: readonly string[], isAll: boolean): Promise<void> {
  for (let at = 0; at < digests.length; at += takenPerMessage)
    await ask(door, { kind: 'taken', digests: digests.slice(at, at + takenPerMessage), isAll: false });
  if (isAll) await ask(door, { kind: 'taken', digests: [], isAll });
}

/** A lock with what its evidence needs. */
type HeldLock = {
  readonly door: Door;
  readonly id: string;
  readonly lock: DoorLock;
  sureUntilMs: number;
  /** How often a front door had come or gone then. */
  sureAtChange: number;
};

function createHeldLock(door: Door, id: string, changes: () => number): HeldLock {
  let isReleased = false;
  const remove = async (wish: DeleteWish): Promise<number | null> => {
    const answer = (await ask(door, { kind: 'delete', lockId: id, ...wish })) as DeleteAnswer;
    return answer.status;
  };
  const held: HeldLock = {
    ...{ door, id },
    sureUntilMs: -Infinity,
    sureAtChange: -1,
    lock: {
      deleteManifest: (repository, digest) => remove({ repository, what: 'manifest', digest }),
      deleteBlob: (repository, digest) => remove({ repository, what: 'blob', digest }),
      isSure: () =>
        !isReleased &&
        !door.peer.closed.aborted &&
        held.sureAtChange === changes() &&
        performance.now() < held.sureUntilMs,
      release: async () => {
        if (isReleased) return;
        isReleased = true;
        // A front door that is gone has released it.
        if (!door.peer.closed.aborted) await ask(door, { kind: 'unlock', id });
      },
    },
  };
  return held;
}

type AllEvidence = { readonly doors: readonly Door[]; readonly parts: readonly Evidence[] };

function mergeEvidence({ doors, parts }: AllEvidence, leasesSince: number): MergedEvidence {
  const add = (a: number, b: number) => a + b;
  const later = (a: number, b: number) => Math.max(a, b);
  const join = (read: (part: Evidence) => readonly number[], by: (a: number, b: number) => number) =>
    (parts[0] === undefined ? [] : read(parts[0])).map((_, i) =>
      parts.map((part) => read(part)[i] ?? 0).reduce(by),
    );
  return {
    epoch: doors
      .map(({ hello }, i) => `${hello.door.id} ${parts[i]?.epoch ?? ''}`)
      .toSorted()
      .join('; '),
    held: parts.some(({ held }) => held),
    leasesSince,
    leases: join(({ leases }) => leases, later),
    writes: join(({ writes }) => writes, add),
    digestWrites: join(({ digestWrites }) => digestWrites, add),
  };
}

function findDisagreement(hellos: readonly Hello[], version: string, graceMs: number): string | null {
  for (const { door, graceMs: theirs } of hellos) {
    if (door.version !== version)
      return `${nameOf(door)} is version ${door.version}, and the cleaner ${version}: restart the older one.`;
    if (theirs !== graceMs)
      return `${nameOf(door)} has another clean.grace than the cleaner: give both the same, and reload them.`;
  }
  return null;
}

/** A delete at one front door holds requests at another only through a Redis. */
function findRedisFault({ doors, parts }: AllEvidence): string | null {
  const ids = parts.map(({ redis }) => redis?.me ?? null);
  if (doors.length > 1) {
    const apart = parts.findIndex(
      ({ redis }) =>
        redis === null || ids.some((id) => id !== redis.me && (id === null || !redis.others.includes(id))),
    );
    const [door] = doors.slice(apart);
    if (apart !== -1 && door !== undefined)
      return `${nameOf(door.hello.door)} shares no Redis with the other front doors, so a clean-up cannot hold requests at all of them: give them one cache.redis.`;
  }
  const stranger = parts.flatMap(({ redis }) => redis?.others ?? []).find((id) => !ids.includes(id));
  return stranger === undefined
    ? null
    : `Their Redis knows the front door ${stranger}, which is not connected to this cleaner: give it the same clean.socket, or stop it and wait until Redis has forgotten it.`;
}

async function* readUsage<Question extends UsageQuestion>(
  doors: readonly Door[],
  question: Question,
): AsyncGenerator<UsageTimes & { readonly rows: readonly UsageAnswer<Question>[] }> {
  const read = async (door: Door, next: UsageQuestion) =>
    (await ask(door, { kind: 'usage', question: next })) as UsagePage;
  const first = await Promise.all(doors.map((door) => read(door, question)));
  const asOf = Math.min(...first.map((page) => page.asOf));
  const since = Math.max(...first.map((page) => page.since));
  for (const [i, door] of doors.entries())
    for (let page = first[i]; page !== undefined; page = page.next ? await read(door, page.next) : undefined)
      yield { asOf, since, rows: page.rows as readonly UsageAnswer<Question>[] };
}

function toKnown(
  { door: { id, pid, host }, graceMs }: Hello,
  heardAt: number,
  leftAt: number | null,
): KnownDoor {
  return { ...{ id, pid, host, graceMs }, heardAt, leftAt };
}

function describeVanished(door: KnownDoor): string {
  const until = new Date(door.heardAt + door.graceMs).toISOString();
  return `${nameOf(door)} has vanished without signing off, and may serve on: start Tidegate there, or wait until ${until}, when nobody relies on what it answered.`;
}

function nameOf({ host, pid }: Pick<Hello['door'], 'host' | 'pid'>): string {
  return `The front door ${host}/${pid}`;
}

function whenClosed({ closed }: Peer): Promise<void> {
  return new Promise((resolve) => {
    if (closed.aborted) resolve();
    else closed.addEventListener('abort', () => resolve(), { once: true });
  });
}
