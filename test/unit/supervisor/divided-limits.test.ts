import assert from 'node:assert/strict';
import { test } from 'node:test';
import { divideLimits } from '../../../src/supervisor/divided-limits.ts';
import { loadConfig } from '../../../src/config/load/load.ts';

const share = async (...set: string[]) => {
  const sources = { configPath: undefined, flavor: undefined, env: {}, cwd: '/' };
  return divideLimits((await loadConfig({ ...sources, set })).config);
};

test('limits that hold in all are divided; what is left is as it was', async () => {
  const set = [
    'limits.connections=10',
    'limits.connectionsPerUser=7',
    'auth.passwordThreads=7',
    'auth.passwordQueue=7',
    'cache.maxBytes=1MiB',
  ];
  const { auth, cache, limits } = await share('workers=3', ...set);
  assert.deepEqual(
    [limits.connections, limits.connectionsPerUser, auth.passwordThreads, auth.passwordQueue, cache.maxBytes],
    [4, 3, 2, 3, 349_525],
  );
  assert.equal((await share('workers=3', 'auth.passwordThreads=1')).auth.passwordThreads, 1);
  const redis = await share('workers=3', 'cache.driver=redis', 'cache.maxBytes=1MiB');
  assert.equal(redis.cache.maxBytes, 1024 * 1024, 'Redis is one for all');
  const { config } = await loadConfig({
    configPath: undefined,
    flavor: undefined,
    env: {},
    cwd: '/',
    set: ['workers=1'],
  });
  assert.deepEqual(divideLimits(config), config);
});
