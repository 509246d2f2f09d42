import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { tidegate, type Finished } from '../../support/processes.ts';
import { openTestStore } from '../../support/redis-store.ts';
import { freePort, startRedis, startRelay, startTlsRedis, type RedisServer } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const upstreamUrl = 'http://127.0.0.1:5000';
const keyPrefix = 'tidegate:';

const cache = (
  command: string,
  settings: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> =>
  tidegate(
    [
      ...['cache', command, '--set', 'cache.driver=redis', '--set', `upstream.url=${upstreamUrl}`],
      ...settings.flatMap((setting) => ['--set', setting]),
    ],
    { env },
  );

describe('tidegate cache', { skip: unlessInstalled('redis-server', 'openssl') }, () => {
  let server: RedisServer;
  let url: string;
  before(async () => {
    server = await startRedis();
    url = `cache.redis.url=redis://${server.address}`;
  });
  afterEach(() => server.admin.flushall());
  after(() => server.stop());

  /** A store of an instance that serves, with some entries. */
  const openFilled = async (entries: number) => {
    const { store, trusted } = openTestStore({ address: server.address, keyPrefix, upstreamUrl });
    await trusted();
    for (let i = 0; i < entries; i += 1) {
      const slot = { scope: 'library/app', item: `tag${i}`, variant: '' };
      const lookup = await store.lookup(slot);
      assert.equal(lookup.kind, 'absent');
      await store.fill(slot, lookup.ticket, Buffer.alloc(1000), 0);
    }
    return store;
  };

  it('stats says how much is kept, and leaves it', async () => {
    const store = await openFilled(7);
    const stats = await store.stats();
    const dump = async () => (await server.admin.keys('*')).sort();
    const before = await dump();
    for (let i = 0; i < 2; i += 1) {
      const { code, stdout, stderr } = await cache('stats', [url, 'cache.maxBytes=2MiB']);
      assert.deepEqual(
        { code, stdout, stderr },
        { code: 0, stdout: `entries: 7\nbytes: ${stats?.bytes ?? 0} of ${2 * 1024 * 1024}\n`, stderr: '' },
      );
    }
    assert.deepEqual(await dump(), before);
    assert.equal((await store.lookup({ scope: 'library/app', item: 'tag0', variant: '' })).kind, 'found');
    await store.close();
  });

  it('stats of an empty cache are none', async () => {
    const { code, stdout } = await cache('stats', [url]);
    assert.equal(code, 0);
    assert.match(stdout, /^entries: 0\nbytes: 0 of \d+\n$/);
    assert.deepEqual(await server.admin.keys('*'), []);
  });

  it('flush empties it for those who serve, and nothing of others', async () => {
    const store = await openFilled(300);
    await server.admin.set('tidegate', 'mine');
    const { code, stdout, stderr } = await cache('flush', [url]);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'The cache is empty.\n', stderr: '' });
    assert.deepEqual(await store.stats(), { entries: 0, bytes: 0 });
    const lookup = await store.lookup({ scope: 'library/app', item: 'tag0', variant: '' });
    assert.equal(lookup.kind, 'absent', 'and it is used on');
    assert.equal(await server.admin.get('tidegate'), 'mine');
    await store.close();
  });

  it('looks at the entries of one upstream and one prefix', async () => {
    const store = await openFilled(3);
    for (const setting of ['upstream.url=http://127.0.0.1:5001', 'cache.redis.keyPrefix=other:']) {
      assert.match((await cache('stats', [url, setting])).stdout, /^entries: 0\n/);
      assert.equal((await cache('flush', [url, setting])).code, 0);
    }
    assert.equal((await store.stats())?.entries, 3);
    await store.close();
  });

  it('works over TLS with a password from the environment, and says what is wrong without', async () => {
    const secure = await startTlsRedis('secret');
    const settings = [`cache.redis.url=rediss://${secure.address}`, `cache.redis.ca=${secure.caPath}`];
    const right = await cache('stats', settings, { TIDEGATE_CACHE_REDIS_PASSWORD: 'secret' });
    assert.deepEqual([right.code, right.stderr], [0, '']);
    const wrong = await cache('stats', settings, { TIDEGATE_CACHE_REDIS_PASSWORD: 'guessed' });
    assertSentence(wrong, /WRONGPASS/);
    assert.doesNotMatch(wrong.stderr, /guessed/);
    assertSentence(await cache('stats', settings.slice(0, 1)), /certificate/);
    assertSentence(await cache('stats', [...settings, 'cache.redis.ca=/nowhere.pem']), /\/nowhere\.pem/);
    await secure.stop();
  });

  it('is wrong usage without a command or with another', async () => {
    for (const args of [['cache'], ['cache', 'shrink'], ['cache', 'stats', 'more']]) {
      const { code, stderr } = await tidegate(args);
      assert.equal(code, 2, args.join(' '));
      assert.notEqual(stderr, '');
    }
  });
});

describe(
  'tidegate cache without a Redis',
  { skip: unlessInstalled('redis-server', 'openssl'), concurrency: true },
  () => {
    for (const command of ['stats', 'flush']) {
      it(`${command} says so when Redis is down`, async () => {
        const port = await freePort();
        assertSentence(await cache(command, [`cache.redis.url=redis://127.0.0.1:${port}`]), /ECONNREFUSED/);
      });

      it(`${command} gives up when Redis accepts and never answers`, async () => {
        const silent = await startRedis();
        const relay = await startRelay(silent.port);
        relay.stall();
        assertSentence(await cache(command, [`cache.redis.url=redis://${relay.address}`]), /does not answer/);
        await relay.close();
        await silent.stop();
      });

      for (const driver of ['memory', 'off']) {
        it(`${command} says so when the driver is ${driver}`, async () => {
          const finished = await cache(command, [`cache.driver=${driver}`]);
          assertSentence(finished, new RegExp(`cache\\.driver is ${driver}`));
        });
      }
    }
  },
);

function assertSentence({ code, stdout, stderr }: Finished, what: RegExp): void {
  assert.equal(code, 1, stderr);
  assert.equal(stdout, '');
  assert.match(stderr, what);
  assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
}
