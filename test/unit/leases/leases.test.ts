import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLeases } from '../../../src/leases/leases.ts';

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const startMs = 1_700_000_000_000;

function open() {
  const clock = { nowMs: 5000, wallMs: startMs };
  const leases = createLeases({ now: () => clock.nowMs, wallClock: () => clock.wallMs });
  return {
    ...leases,
    pass: (ms: number) => {
      clock.nowMs += ms;
      clock.wallMs += ms;
    },
    setWallClock: (ms: number) => (clock.wallMs = ms),
    leaseOf: (digest: string) => leases.read({ repositories: [], digests: [digest] }).leases[0],
  };
}

test('a lease is never read as older than it is, and at most a second younger', () => {
  const times = fc.array(fc.record({ text: fc.string(), afterMs: fc.nat({ max: 100_000 }) }), {
    maxLength: 50,
  });
  fc.assert(
    fc.property(times, (notes) => {
      const { note, pass, leaseOf } = open();
      const last = new Map<string, number>();
      let atMs = startMs;
      for (const { text, afterMs } of notes) {
        pass(afterMs);
        atMs += afterMs;
        note(digestOf(text));
        last.set(digestOf(text), atMs);
      }
      pass(1_000_000);
      for (const [digest, notedMs] of last) {
        const lateMs = (leaseOf(digest) ?? 0) - notedMs;
        assert.ok(lateMs >= 0, `${lateMs} ms`);
        // Only where no later one shares its slot.
        if (last.size === 1) assert.ok(lateMs <= 1000, `${lateMs} ms`);
      }
    }),
  );
});

test('a digest that was not answered about has no lease, and one noted in the first second has', () => {
  const { note, leaseOf } = open();
  assert.equal(leaseOf(digestOf('a')), 0);
  note(digestOf('a'));
  assert.equal(leaseOf(digestOf('a')), startMs + 1000);
  assert.equal(leaseOf(digestOf('b')), 0);
});

test('a jump of the wall clock makes no lease older', () => {
  const { note, leaseOf, setWallClock, read } = open();
  note(digestOf('a'));
  setWallClock(startMs + 86_400_000);
  assert.equal(leaseOf(digestOf('a')), startMs + 86_400_000 + 1000);
  assert.equal(read({ repositories: [], digests: [] }).since, startMs + 86_400_000);
});

test('leases are known from the start on, or from when anything may be relied on', () => {
  const { noteAll, pass, read } = open();
  const since = () => read({ repositories: [], digests: [] }).since;
  assert.equal(since(), startMs);
  pass(7000);
  assert.equal(since(), startMs);
  noteAll();
  pass(1);
  assert.equal(since(), startMs + 7000);
});

test('the counters of a repository and of a digest move with each note of a write, and no other does', () => {
  const question = { repositories: ['team/app', 'team/other'], digests: [digestOf('a'), digestOf('b')] };
  const { noteWrite, read } = open();
  const before = read(question);
  noteWrite('team/app');
  noteWrite(digestOf('b'));
  noteWrite(digestOf('b'));
  const after = read(question);
  const moved = (now: readonly number[], then: readonly number[]) =>
    now.map((each, i) => (each - (then[i] ?? 0)) >>> 0);
  assert.deepEqual(moved(after.writes, before.writes), [1, 0]);
  assert.deepEqual(moved(after.digestWrites, before.digestWrites), [0, 2]);
  assert.equal(after.epoch, before.epoch);
});

test('each process has an epoch and beginnings of its counters of its own', () => {
  const question = { repositories: ['a', 'b', 'c', 'd'], digests: [] };
  const [one, other] = [open().read(question), open().read(question)];
  assert.notEqual(one.epoch, other.epoch);
  assert.notDeepEqual(one.writes, other.writes);
});
