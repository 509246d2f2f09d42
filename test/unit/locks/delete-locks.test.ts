import assert from 'node:assert/strict';
import { describe, it, mock, beforeEach, afterEach } from 'node:test';
import { createDeleteLocks } from '../../../src/locks/delete-locks.ts';
import { createFreezer, type FreezeMember } from '../../../src/locks/repository-freezer.ts';
import {
  createRepositoryLocks,
  unsettledMs,
  type RepositoryLock,
} from '../../../src/locks/repository-locks.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Deletes, and processes that say what they are told. */
function open() {
  const freezer = createFreezer();
  const locks = createDeleteLocks(createRepositoryLocks(), freezer);
  const said: string[] = [];
  return {
    freezer,
    said: async () => {
      for (let i = 0; i < 3; i += 1) await turn();
      return said.splice(0);
    },
    /** @param isBusy whether something is under way in it */
    join: (name: string, isBusy = () => false): FreezeMember => {
      const member: FreezeMember = {
        freeze: (_, id) => {
          said.push(`${name} freezes`);
          if (!isBusy()) freezer.quiet(member, id);
        },
        thaw: () => said.push(`${name} thaws`),
      };
      freezer.join(member);
      return member;
    },
    acquire: (name: string, waitMs = 30_000, signal = new AbortController().signal) => {
      const got: { lock?: RepositoryLock } = {};
      void locks.acquire('app', { waitMs, maxWaiting: 10, signal }).then((lock) => {
        said.push(typeof lock === 'string' ? `${name} is ${lock}` : `${name} has it`);
        if (typeof lock !== 'string') got.lock = lock;
      });
      return got;
    },
  };
}

describe('a delete has its repository for itself', () => {
  let nowMs = 0;
  beforeEach(() => {
    nowMs = 0;
    mock.timers.enable({ apis: ['setTimeout'] });
    mock.method(performance, 'now', () => nowMs);
  });
  afterEach(() => {
    mock.timers.reset();
    mock.restoreAll();
  });
  const pass = async (ms: number) => {
    nowMs += ms;
    mock.timers.tick(ms);
    await turn();
    await turn();
  };

  it('one after the other, and all the rest go on between two for as long as they were held', async () => {
    const { join, acquire, said } = open();
    join('a');
    join('b');
    const first = acquire('first');
    acquire('second');
    assert.deepEqual(await said(), ['a freezes', 'b freezes', 'first has it']);
    await pass(20);
    first.lock?.release();
    assert.deepEqual(await said(), ['a thaws', 'b thaws']);
    await pass(19);
    assert.deepEqual(await said(), []);
    await pass(1);
    assert.deepEqual(await said(), ['a freezes', 'b freezes', 'second has it']);
  });

  it('what is under way is waited for, in tries of 50 ms and more with pauses between', async () => {
    const { join, acquire, said } = open();
    let busy = true;
    join('a', () => busy);
    acquire('first');
    assert.deepEqual(await said(), ['a freezes']);
    await pass(50);
    assert.deepEqual(await said(), ['a thaws']);
    await pass(50);
    assert.deepEqual(await said(), ['a freezes']);
    await pass(99);
    assert.deepEqual(await said(), []);
    await pass(1);
    assert.deepEqual(await said(), ['a thaws']);
    busy = false;
    await pass(100);
    assert.deepEqual(await said(), ['a freezes', 'first has it']);
  });

  it('for no longer than it may take; who leaves wants nothing any more', async () => {
    const { join, acquire, said } = open();
    join('a', () => true);
    acquire('first', 120);
    await said();
    await pass(50);
    await pass(50);
    await pass(20);
    await pass(100);
    assert.deepEqual((await said()).at(-1), 'first is late');
    const leaving = new AbortController();
    acquire('second', 1000, leaving.signal);
    assert.deepEqual(await said(), ['a freezes']);
    leaving.abort();
    assert.equal((await said()).at(-1), 'second is gone');
    acquire('third');
    assert.deepEqual(await said(), ['a freezes']);
  });

  it('what a process had under way that is gone may be so for a while; one that starts is told of a freeze', async () => {
    const { freezer, join, acquire, said } = open();
    const gone = join('gone', () => true);
    const first = acquire('first');
    assert.deepEqual(await said(), ['gone freezes']);
    freezer.leave(gone);
    join('new');
    assert.deepEqual(await said(), ['new freezes']);
    for (let ms = 50; ms < unsettledMs; ms += 50) {
      await pass(50);
      assert.equal((await said()).includes('first has it'), false);
    }
    for (let ms = 0; ms < 3 * unsettledMs && !first.lock; ms += 50) await pass(50);
    assert.ok(first.lock);
  });
});
