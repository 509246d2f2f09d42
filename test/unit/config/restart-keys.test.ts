import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configKeys, groupPaths } from '../../../src/config/schema/key-list.ts';
import { formatReference } from '../../../src/config/docs/reference.ts';
import { mergeReloaded, restartKeys, restartKeysWithRedis } from '../../../src/config/schema/restart-keys.ts';
import { configSchema, type Config } from '../../../src/config/schema/schema.ts';

/** The empty groups below a path, in each other. */
function emptyGroups(above: string): Record<string, unknown> {
  const names = [...groupPaths]
    .filter((path) => path.startsWith(above))
    .map((path) => path.slice(above.length));
  const direct = names.filter((name) => !name.includes('.'));
  return Object.fromEntries(direct.map((name) => [name, emptyGroups(`${above}${name}.`)]));
}

const defaults = configSchema.parse(emptyGroups('')) as Config;
const withRedis: Config = { ...defaults, cache: { ...defaults.cache, driver: 'redis' } };

describe('mergeReloaded', () => {
  it('knows only keys that there are', () => {
    for (const name of [...restartKeys, ...restartKeysWithRedis])
      assert.ok(configKeys.has(name) || groupPaths.has(name), name);
  });

  it('takes what can be changed and keeps what cannot, key by key', () => {
    const loaded: Config = {
      ...defaults,
      workers: 63,
      listen: { ...defaults.listen, port: 8443, trustedProxies: ['10.0.0.0/8'] },
      cache: { ...defaults.cache, tagTtl: 1, redis: { ...defaults.cache.redis, password: 'secret' } },
      upstream: { ...defaults.upstream, url: 'http://127.0.0.1:5001' },
    };
    const { config, changed, needRestart } = mergeReloaded(defaults, loaded);
    assert.deepEqual(changed, ['listen.trustedProxies', 'upstream.url', 'cache.tagTtl']);
    assert.deepEqual(needRestart, ['listen.port', 'cache.redis.password', 'workers']);
    assert.deepEqual(config, {
      ...defaults,
      listen: { ...defaults.listen, trustedProxies: ['10.0.0.0/8'] },
      cache: { ...defaults.cache, tagTtl: 1 },
      upstream: { ...defaults.upstream, url: 'http://127.0.0.1:5001' },
    });
    assert.equal(loaded.listen.port, 8443, 'what was loaded is left alone');
  });

  it('keeps the upstream of a cache in Redis: the others write under its name', () => {
    const loaded: Config = { ...withRedis, upstream: { ...defaults.upstream, url: 'http://127.0.0.1:5001' } };
    const { config, changed, needRestart } = mergeReloaded(withRedis, loaded);
    assert.deepEqual([config, changed, needRestart], [withRedis, [], ['upstream.url']]);
  });

  it('finds nothing where nothing has changed', () => {
    assert.deepEqual(mergeReloaded(defaults, structuredClone<Config>(defaults)), {
      config: defaults,
      changed: [],
      needRestart: [],
    });
  });

  it('is what the reference says', () => {
    const rows = formatReference().split('\n');
    const rowOf = (path: string) => rows.find((row) => row.startsWith(`| \`${path}\``)) ?? '';
    for (const path of ['listen.port', 'log.level', 'cache.redis.url', 'limits.headerBytes'])
      assert.match(rowOf(path), /A change needs a restart\. \|$/, path);
    assert.match(rowOf('upstream.url'), /needs a restart where cache\.driver is redis/);
    for (const path of ['tls.cert', 'auth.realm', 'limits.connections', 'shutdown.timeout'])
      assert.doesNotMatch(rowOf(path), /needs a restart/, path);
  });
});
