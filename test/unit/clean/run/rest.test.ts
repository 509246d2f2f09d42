import { test } from 'node:test';
import { rest } from '../../../../src/clean/run/rest.ts';

test('a rest ends when the run is to stop', { timeout: 10_000 }, async () => {
  const stop = new AbortController();
  const resting = rest(2 ** 31 - 1, stop.signal);
  stop.abort();
  await resting;
  await rest(2 ** 31 - 1, stop.signal);
  await rest(1, new AbortController().signal);
});
