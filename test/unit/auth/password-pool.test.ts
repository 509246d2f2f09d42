import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { createPasswordPool } from '../../../src/auth/password/password-pool.ts';
import type { PasswordPool } from '../../../src/auth/password/password-pool.ts';
import { OciError } from '../../../src/registry/error.ts';

const right = '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=';
const slow = '$2y$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW';

const isUnavailable = (error: unknown) => {
  assert.ok(error instanceof OciError);
  assert.equal(error.status, 503);
  assert.match(error.headers['Retry-After'] ?? '', /^\d+$/);
  return true;
};

describe('createPasswordPool', () => {
  // The pool's threads never keep a process alive; the test has to.
  let alive: NodeJS.Timeout;
  before(() => {
    alive = setInterval(() => undefined, 60_000);
  });
  after(() => clearInterval(alive));

  async function withPool(
    options: { threads: number; maxQueued: number },
    use: (pool: PasswordPool, workers: Worker[]) => Promise<void>,
  ): Promise<void> {
    const workers: Worker[] = [];
    const onWorker = (worker: Worker) => workers.push(worker);
    process.on('worker', onWorker);
    const pool = createPasswordPool(options);
    try {
      await use(pool, workers);
    } finally {
      process.off('worker', onWorker);
      await pool.close();
    }
  }

  it('checks passwords', () =>
    withPool({ threads: 2, maxQueued: 10 }, async (pool, workers) => {
      assert.equal(workers.length, 0, 'threads start when they are needed');
      assert.equal(await pool.verify('myPassword', right), true);
      assert.equal(await pool.verify('other', right), false);
      assert.equal(workers.length, 1, 'an idle thread is used again');
    }));

  it('starts no more threads than allowed and answers the queue in full', () =>
    withPool({ threads: 2, maxQueued: 20 }, async (pool, workers) => {
      const checks = Array.from({ length: 20 }, (_, i) => pool.verify(i % 2 ? 'myPassword' : 'x', right));
      assert.deepEqual(
        await Promise.all(checks),
        checks.map((_, i) => i % 2 === 1),
      );
      assert.equal(workers.length, 2);
    }));

  it('refuses what the queue cannot hold with 503 and Retry-After', () =>
    withPool({ threads: 1, maxQueued: 1 }, async (pool) => {
      const running = pool.verify('x', slow);
      const waiting = pool.verify('myPassword', right);
      await assert.rejects(pool.verify('myPassword', right), isUnavailable);
      assert.equal(await running, false);
      assert.equal(await waiting, true);
      assert.equal(await pool.verify('myPassword', right), true);
    }));

  it('fails a check that cannot be made, without losing the thread', () =>
    withPool({ threads: 1, maxQueued: 1 }, async (pool, workers) => {
      await assert.rejects(pool.verify('x', 'no hash'), isUnavailable);
      assert.equal(await pool.verify('myPassword', right), true);
      assert.equal(workers.length, 1);
    }));

  it('replaces a thread that ends; its check fails, the waiting ones go on', () =>
    withPool({ threads: 1, maxQueued: 5 }, async (pool, workers) => {
      const lost = pool.verify('x', slow);
      const waiting = pool.verify('myPassword', right);
      const [worker] = (await once(process, 'worker')) as [Worker];
      await Promise.all([assert.rejects(lost, isUnavailable), worker.terminate()]);
      assert.equal(await waiting, true);
      assert.equal(workers.length, 2);
    }));

  it('backs off when threads end again and again: fails at once instead of hanging', () =>
    withPool({ threads: 1, maxQueued: 50 }, async (pool, workers) => {
      const killAll = (worker: Worker) => void worker.terminate();
      process.on('worker', killAll);
      try {
        const checks = Array.from({ length: 50 }, () => pool.verify('myPassword', right));
        for (const check of checks) await assert.rejects(check, isUnavailable);
        assert.ok(workers.length <= 3, `${workers.length} threads were started`);
      } finally {
        process.off('worker', killAll);
      }
    }));

  it('does what is to be done first before all else, and lets it take the place of the last in a full queue', async () => {
    const pool = createPasswordPool({ threads: 1, maxQueued: 3 });
    const done: string[] = [];
    const check = (name: string, isFirst = false) =>
      pool.verify('myPassword', right, { isWanted: () => true, isFirst }).then(
        () => done.push(name),
        () => done.push(`${name} has no place`),
      );
    await Promise.all([
      check('under way'),
      check('a'),
      check('b'),
      check('c'),
      check('first', true),
      check('second', true),
      check('d'),
    ]);
    await pool.close();
    assert.deepEqual(done, [
      'c has no place',
      'b has no place',
      'd has no place',
      'under way',
      'first',
      'second',
      'a',
    ]);
  });

  it('leaves out what is not wanted any more when its turn has come', async () => {
    const pool = createPasswordPool({ threads: 1, maxQueued: 10 });
    let isWanted = true;
    const order = { isWanted: () => isWanted, isFirst: false };
    const checks = ['x', 'y', 'z'].map((password) => pool.verify(password, right, order));
    const last = pool.verify('myPassword', right);
    isWanted = false;
    assert.deepEqual(await Promise.all([...checks, last]), [false, undefined, undefined, true]);
    await pool.close();
  });

  it('close fails what is under way, and ends the threads', async () => {
    const pool = createPasswordPool({ threads: 1, maxQueued: 5 });
    const worker = once(process, 'worker') as Promise<[Worker]>;
    const rejected = [pool.verify('x', slow), pool.verify('x', slow)].map((check) =>
      assert.rejects(check, isUnavailable),
    );
    const exited = once((await worker)[0], 'exit');
    await pool.close();
    await Promise.all([...rejected, exited]);
    await assert.rejects(pool.verify('x', right), isUnavailable);
    await pool.close();
  });

  it('tells what waits, what is under way and what was refused, and how long each has waited', async () => {
    const waits: number[] = [];
    let rejected = 0;
    const pool = createPasswordPool({
      threads: 1,
      maxQueued: 1,
      onWaited: (waitedMs) => waits.push(waitedMs),
      onRejected: () => (rejected += 1),
    });
    const checks = [pool.verify('x', slow), pool.verify('x', slow)];
    await assert.rejects(pool.verify('x', slow), isUnavailable);
    assert.deepEqual(pool.load(), { queued: 1, running: 1 });
    assert.equal(rejected, 1);
    await Promise.all(checks);
    assert.deepEqual(pool.load(), { queued: 0, running: 0 });
    const [first = NaN, second = NaN] = waits;
    assert.equal(waits.length, 2);
    assert.ok(second > first && first >= 0, `${first} ${second}`);
    await pool.close();
  });

  it('does not keep the process alive', () => {
    const module = new URL('../../../src/auth/password/password-pool.js', import.meta.url).href;
    const script = `import(${JSON.stringify(module)}).then(async ({ createPasswordPool }) => {
      const pool = createPasswordPool({ threads: 1, maxQueued: 5 });
      const alive = setInterval(() => {}, 1000);
      console.log(await pool.verify('myPassword', ${JSON.stringify(right)}));
      clearInterval(alive);
      void pool.verify('x', ${JSON.stringify(slow.replace('$10$', '$16$'))}).finally(() => console.log('waited'));
    })`;
    const child = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      timeout: 240_000,
    });
    assert.equal(child.stdout, 'true\n', child.stderr);
    assert.equal(child.status, 0);
  });
});
