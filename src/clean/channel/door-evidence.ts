import type { DoorLocks } from './door-locks.ts';
import { askDoor, nameOf, type Door } from './door.ts';
import { DoorsError, type Doors, type MergedEvidence } from './doors.ts';
import type { KnownDoors } from './known-doors.ts';
import type { Evidence, EvidenceQuestion, Hello } from './messages.ts';
import { parseEvidence } from './parse-messages.ts';
import type { PresentDoors } from './present-doors.ts';

export type DoorEvidenceOptions = {
  readonly version: string;
  /** `clean.grace`, in milliseconds. */
  readonly graceMs: () => number;
  readonly all: PresentDoors['all'];
  readonly known: Pick<KnownDoors, 'list'>;
  readonly locks: Pick<DoorLocks, 'find'>;
};

/** What all front doors have answered and written, told as one. */
export function createDoorEvidence(options: DoorEvidenceOptions): Pick<Doors, 'check' | 'evidence'> {
  const { version, graceMs, all, known, locks } = options;

  const read = async (question: LockedQuestion): Promise<AllEvidence> => {
    const doors = all();
    const parts = await Promise.all(doors.map((door) => readPart(door, question)));
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

  return {
    check: async () => {
      const evidence = await read({ repositories: [], digests: [] });
      return {
        leasesSince: findLeasesSince(evidence),
        graceMs: graceMs(),
        doors: evidence.doors.map(({ hello }) => hello.door),
      };
    },
    evidence: async ({ repositories = [], digests = [], lock: of }) => {
      const lock = of && locks.find(of);
      const askedMs = performance.now();
      const evidence = await read({ repositories, digests, ...(lock && { lock }) });
      const merged = mergeEvidence(evidence, findLeasesSince(evidence));
      lock?.note(merged.held, askedMs);
      return merged;
    },
  };
}

type LockedQuestion = EvidenceQuestion & { readonly lock?: { readonly door: Door; readonly id: string } };

async function readPart(door: Door, { lock, ...question }: LockedQuestion): Promise<Evidence> {
  const lockId = door === lock?.door ? lock.id : null;
  const evidence = parseEvidence(await askDoor(door, { kind: 'evidence', lockId, ...question }), question);
  if (evidence !== null) return evidence;
  throw new DoorsError(
    `${nameOf(door.hello.door)} cannot be relied on: it did not tell all that it was asked.`,
  );
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
