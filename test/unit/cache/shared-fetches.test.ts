import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../../../src/cache/entry.ts';
import { createSharedFetches, type FetchOutcome } from '../../../src/cache/shared-fetches.ts';

/** Fetches that end when the test says so. */
function open() {
  let nowMs = 0;
  const fetches = createSharedFetches(() => nowMs);
  const started: {
    readonly signal: AbortSignal;
    readonly end: (fetched: FetchOutcome | Promise<FetchOutcome>) => void;
  }[] = [];
  const leaving: (() => void)[] = [];
  return {
    started,
    leaving,
    wait: (ms: number) => (nowMs += ms),
    join: (ticket: string, key = 'key') =>
      fetches.join(
        key,
        ticket,
        (listener) => leaving.push(listener),
        (signal) => new Promise((end) => started.push({ signal, end })),
      ),
  };
}
const answerOf = (text: string): Answer => ({
  status: 200,
  reason: 'OK',
  rawHeaders: [],
  body: Buffer.from(text),
});
const tasks = () => new Promise<void>((resolve) => setImmediate(resolve));

test('one fetch answers all of one key and ticket', async () => {
  const { join, started } = open();
  const joined = [join('1'), join('1')];
  const others = [join('2'), join('1', 'another key')];
  assert.equal(started.length, 3);
  const answers = ['a', 'b', 'c'].map(answerOf);
  started.forEach(({ end }, i) => end({ answer: answers[i] ?? null }));
  assert.deepEqual(await Promise.all([...joined, ...others]), [answers[0], ...answers]);
});

test('a fetch of 5 s is not joined any more', () => {
  const { join, started, wait } = open();
  void join('1');
  wait(4999);
  void join('1');
  assert.equal(started.length, 1);
  wait(1);
  void join('1');
  assert.equal(started.length, 2);
});

test('a fetch is joined until its answer is stored', async () => {
  const { join, started } = open();
  const first = join('1');
  let store = () => {};
  started[0]?.end({ answer: null, stored: new Promise((resolve) => (store = resolve)) });
  assert.equal(await first, null);
  await tasks();
  void join('1');
  assert.equal(started.length, 1);
  store();
  await tasks();
  void join('1');
  assert.equal(started.length, 2);
});

test('a fetch is aborted when nobody waits any more, and then not joined', () => {
  const { join, started, leaving } = open();
  void join('1');
  void join('1');
  leaving[0]?.();
  assert.equal(started[0]?.signal.aborted, false);
  leaving[1]?.();
  assert.equal(started[0].signal.aborted, true);
  void join('1');
  assert.deepEqual([started.length, started[1]?.signal.aborted], [2, false]);
});

test('a fetch that fails rejects for all, and is not joined', async () => {
  const { join, started } = open();
  const joined = [join('1'), join('1')];
  started[0]?.end(Promise.reject(new Error('no answer')));
  for (const each of joined) await assert.rejects(each, /no answer/);
  await tasks();
  void join('1');
  assert.equal(started.length, 2);
});
