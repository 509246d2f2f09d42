import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { createLockServer, type LockAnswer } from '../../../src/supervisor/lock-server.ts';
import { createRepositoryLocks, unsettledMs } from '../../../src/locks/repository-locks.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function openDesk() {
  const desk = createLockServer('tags', createRepositoryLocks());
  const answers: string[] = [];
  const join = (name: string) => {
    const member = {
      send: ({ number, refusal }: LockAnswer) => answers.push(`${name}${number}:${refusal ?? 'held'}`),
    };
    return {
      lock: (number: number, repository = 'app', waitMs = 1000) =>
        desk.heard(member, { kind: 'lock', of: 'tags', number, repository, waitMs, maxWaiting: 2 }),
      unlock: (number: number) => desk.heard(member, { kind: 'unlock', of: 'tags', number }),
      leave: () => desk.leave(member),
    };
  };
  return { join, told: async () => (await turn(), answers.splice(0)) };
}

test('those who want a lock have it one after the other, each repository by itself', async () => {
  const { join, told } = openDesk();
  const [a, b] = [join('a'), join('b')];
  a.lock(1);
  b.lock(1);
  a.lock(2);
  b.lock(2, 'other');
  b.lock(3);
  assert.deepEqual(await told(), ['a1:held', 'b2:held', 'b3:crowded']);
  a.unlock(1);
  a.unlock(1);
  assert.deepEqual(await told(), ['b1:held']);
  b.unlock(1);
  assert.deepEqual(await told(), ['a2:held']);
  a.unlock(2);
  b.lock(4);
  assert.deepEqual(await told(), ['b4:held']);
});

test('who waits and leaves is passed over; who waits too long is told', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { join, told } = openDesk();
    const [a, b] = [join('a'), join('b')];
    a.lock(1);
    b.lock(1);
    b.lock(2);
    b.unlock(1);
    assert.deepEqual(await told(), ['a1:held', 'b1:gone']);
    mock.timers.tick(1000);
    assert.deepEqual(await told(), ['b2:late']);
    a.unlock(1);
    b.lock(3);
    assert.deepEqual(await told(), ['b3:held']);
  } finally {
    mock.timers.reset();
  }
});

test('what a worker had when it died is free a while later, and what it waited for is passed on', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { join, told } = openDesk();
    const [a, b, c] = [join('a'), join('b'), join('c')];
    a.lock(1);
    b.lock(1);
    b.lock(2, 'other');
    c.lock(1, 'app', 60_000);
    assert.deepEqual(await told(), ['a1:held', 'b2:held']);
    b.leave();
    a.leave();
    c.lock(2, 'other', 60_000);
    mock.timers.tick(unsettledMs - 1);
    const isOurs = (answer: string) => answer.startsWith('c');
    assert.deepEqual((await told()).filter(isOurs), []);
    mock.timers.tick(1);
    assert.deepEqual(await told(), ['c2:held', 'c1:held']);
  } finally {
    mock.timers.reset();
  }
});
