import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDrainLog } from '../../../src/supervisor/drain-log.ts';

test('says what is waited for at once and every ten seconds, and nothing when there is nothing', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const counts: unknown[] = [];
  let count = 2;
  const logger = { info: (fields: { count: number }) => void counts.push(fields.count) };
  const log = createDrainLog(logger as never, () => Promise.resolve({ count, oldest: [] }));
  const pass = async (ms: number) => {
    t.mock.timers.tick(ms);
    await Promise.resolve();
    await Promise.resolve();
  };
  await pass(0);
  assert.deepEqual(counts, [2]);
  await pass(9999);
  assert.deepEqual(counts, [2]);
  count = 1;
  await pass(1);
  assert.deepEqual(counts, [2, 1]);
  count = 0;
  await pass(10_000);
  count = 1;
  log.stop();
  await pass(10_000);
  assert.deepEqual(counts, [2, 1]);
});
