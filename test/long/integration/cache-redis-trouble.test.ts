import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { digestOf } from '../../support/cache-load.ts';
import { startCacheRelay, type CacheRelay } from '../../support/cache-relay.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { startRedis, until, type RedisServer } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { wholeLog } from '../../support/whole-log.ts';

const type = 'application/vnd.oci.image.manifest.v1+json';
const body = JSON.stringify({ schemaVersion: 2, note: 'x'.repeat(300) });

describe('pulls while Redis misbehaves', { skip: unlessInstalled('redis-server'), timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let redis: RedisServer;
  let toRedis: CacheRelay;
  let frontDoor: FrontDoor;
  let client: CacheClient;
  before(async () => {
    upstream = await startUpstream({
      script: (request) =>
        request.answer(
          head(
            'HTTP/1.1 200 OK',
            `Content-Type: ${type}`,
            `Docker-Content-Digest: ${digestOf(body)}`,
            `Content-Length: ${body.length}`,
          ),
          request.startLine.startsWith('HEAD') ? '' : body,
        ),
    });
    // Each key that it reads at its start takes it 3 ms, and it listens meanwhile.
    const slowStart = ['--key-load-delay', '3000', '--loading-process-events-interval-bytes', '1024'];
    redis = await startRedis({ args: ['--appendonly', 'yes', ...slowStart] });
    toRedis = await startCacheRelay(redis.port);
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['cache.driver=redis', `cache.redis.url=redis://127.0.0.1:${toRedis.port}`, 'cache.tagTtl=1h'],
    });
    client = createCacheClient(frontDoor);
    await untilHit('first');
  });
  after(async () => {
    client.close();
    await frontDoor.stop();
    await toRedis.close();
    await redis.stop();
    await upstream.close();
  });

  const get = async (tag: string, method = 'GET') => {
    const startMs = performance.now();
    const answer = await client.ask(method, `/v2/app/manifests/${tag}`, { headers: { Accept: type } });
    assert.equal(answer.status, 200);
    assert.equal(answer.header('Docker-Content-Digest'), digestOf(body));
    if (method === 'GET') assert.equal(answer.body.toString(), body);
    return { cache: answer.header('X-Cache'), ms: performance.now() - startMs };
  };
  const untilHit = (tag: string) =>
    until('the cache is in use', async () => (await get(tag)).cache === 'HIT', 30_000);
  /** How often Redis has refused to run the text of a script. */
  const refusedScripts = async () => {
    const line = /cmdstat_eval:.*?rejected_calls=(\d+),failed_calls=(\d+)/.exec(
      await redis.admin.info('commandstats'),
    );
    return Number(line?.[1] ?? 0) + Number(line?.[2] ?? 0);
  };
  const cuts = () => frontDoor.log.filter(({ reason }) => reason === 'the connection was closed');
  const said = (words: string) => frontDoor.log.filter(({ msg }) => msg.includes(words)).length;

  describe('what is damaged in Redis is asked for again', () => {
    const damages: readonly [what: string, damage: (key: string, value: Buffer) => Promise<unknown>][] = [
      ['one bit of the body', (key, value) => redis.admin.setrange(key, value.length - 10, 'y')],
      ['one byte of the head', (key, value) => redis.admin.setrange(key, value.indexOf('Content-Type'), 'X')],
      ['its last byte gone', (key, value) => redis.admin.set(key, value.subarray(0, -1))],
      ['its second half gone', (key, value) => redis.admin.set(key, value.subarray(0, value.length / 2))],
      ['a byte more', (key) => redis.admin.append(key, 'x')],
      [
        'all but a few bytes gone',
        (key, value) => redis.admin.set(key, value.subarray(0, value.length - body.length - 1)),
      ],
      ['emptied', (key) => redis.admin.set(key, '')],
      ['other bytes', (key) => redis.admin.set(key, 'something else')],
      [
        'a list in its place',
        async (key) => {
          await redis.admin.del(key);
          await redis.admin.lpush(key, 'x');
        },
      ],
    ];
    for (const [i, [what, damage]] of damages.entries()) {
      test(what, async () => {
        const tag = `damaged${i}`;
        await untilHit(tag);
        const [key = ''] = await redis.admin.keys(`*entry*${tag}*`);
        const value = await redis.admin.getBuffer(key);
        assert.ok(value);
        await damage(key, value);
        for (const method of ['HEAD', 'GET']) await get(tag, method);
        await untilHit(tag);
      });
    }
  });

  describe('what is forged in Redis, with a right hash, is asked for again', () => {
    const digest = digestOf(body);
    const other = JSON.stringify({ schemaVersion: 2, note: 'another' });
    const fields = ['Content-Type', type, 'Docker-Content-Digest', digest];
    const whole = ['OK', ...fields];
    const forgeries: readonly [what: string, head: unknown, content?: string][] = [
      ['{} for a head', {}],
      ['null', null],
      ['a text', 'OK'],
      ['an empty list', []],
      ['a list in a list', ['OK', 'Content-Type', [type]]],
      ['a number for a value', ['OK', ...fields, 'Content-Length', 5]],
      ['a field without a value', [...whole, 'ETag']],
      ['a line feed in the reason', ['OK\r\nSet-Cookie: a=b', ...fields]],
      ['a line feed in a value', [...whole, 'ETag', 'a\r\nSet-Cookie: a=b']],
      ['a character that is no byte in a value', [...whole, 'ETag', '\u0430']],
      ['an empty name', [...whole, '', 'x']],
      ['a cookie', [...whole, 'Set-Cookie', 'session=1']],
      ['a way elsewhere', [...whole, 'Location', 'https://elsewhere.example']],
      ['a coding', [...whole, 'Content-Encoding', 'gzip']],
      ['an endpoint', [...whole, 'X-Docker-Endpoints', 'elsewhere.example']],
      ['a second type', [...whole, 'Content-Type', 'text/html']],
      ['another body', whole, other],
      ['no digest, and another body', ['OK', 'Content-Type', type], other],
    ];
    const forge = (head: unknown, content: string) => {
      const text = Buffer.from(JSON.stringify(head));
      const length = Buffer.alloc(4);
      length.writeUInt32BE(text.length);
      const all = Buffer.concat([length, text, Buffer.from(content)]);
      return Buffer.concat([createHash('sha256').update(all).digest(), all]);
    };
    for (const [i, [what, head, content = body]] of forgeries.entries()) {
      for (const reference of [`forged${i}`, digest]) {
        test(`${what}, under a ${reference === digest ? 'digest' : 'tag'}`, async () => {
          await untilHit(reference);
          const [key = ''] = await redis.admin.keys(`*entry*${reference}*`);
          const value = await redis.admin.getBuffer(key);
          const stamp = /^(?:[\w-]*\.){4}/.exec(value?.toString('latin1') ?? '')?.[0];
          assert.ok(stamp);
          await redis.admin.set(key, Buffer.concat([Buffer.from(stamp), forge(head, content)]), 'PX', 60_000);
          for (const method of ['HEAD', 'GET']) {
            const answer = await client.ask(method, `/v2/app/manifests/${reference}`, {
              headers: { Accept: type },
            });
            assert.deepEqual([answer.status, answer.header('Docker-Content-Digest')], [200, digest]);
            for (const name of ['Set-Cookie', 'Location', 'Content-Encoding', 'X-Docker-Endpoints'])
              assert.equal(answer.header(name), '', name);
            if (method === 'GET') assert.equal(answer.body.toString(), body);
          }
          await untilHit(reference);
        });
      }
    }
    test('a digest under another name than its own', async () => {
      const named = digestOf(other);
      await untilHit(digest);
      await get('latest');
      const [key = ''] = await redis.admin.keys(`*entry*${digest}*`);
      const value = await redis.admin.getBuffer(key);
      assert.ok(value);
      await redis.admin.set(key.replace(digest, named), value, 'PX', 60_000);
      const answer = await client.ask('GET', `/v2/app/manifests/${named}`, { headers: { Accept: type } });
      assert.notEqual(answer.header('X-Cache'), 'HIT');
    });
  });

  const troubles: readonly [what: string, begin: () => unknown, end: () => unknown][] = [
    ['hung', () => redis.pause(), () => redis.resume()],
    ['behind a network that swallows everything', () => toRedis.stall(), () => toRedis.release()],
    ['down', () => redis.kill(), () => redis.start()],
    ['wanting a password', () => lockOut('secret'), () => lockOut('')],
  ];
  const lockOut = async (password: string) => {
    await redis.admin.config('SET', 'requirepass', password);
    await redis.admin.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  };
  for (const [what, begin, end] of troubles) {
    test(`Redis ${what}: every pull is answered by upstream, one of them waits, the log says it once`, async (t) => {
      await untilHit('trouble');
      const before = { lost: said('Redis cannot be used'), back: said('Redis is back') };
      await begin();
      const times: number[] = [];
      for (let i = 0; i < 30; i++) {
        const { cache, ms } = await get('trouble');
        assert.notEqual(cache, 'HIT');
        times.push(ms);
      }
      // Thirty waits of 100 ms each would be three seconds.
      assert.ok(times.reduce((sum, ms) => sum + ms) < 2000, times.join());
      t.diagnostic(`the slowest took ${Math.max(...times).toFixed(0)} ms`);
      await end();
      await untilHit('trouble');
      await wholeLog(frontDoor);
      assert.equal(said('Redis cannot be used') - before.lost, 1);
      assert.equal(said('Redis is back') - before.back, 1);
    });
  }

  test('Redis full: what is there is used, nothing is waited for, the log says it once', async () => {
    /** Whether Redis answered in time each time: on a busy machine it may not, and is passed by then. */
    const pullWhileFull = async (attempt: number): Promise<boolean> => {
      await redis.admin.config('SET', 'maxmemory', '0');
      await untilHit(`kept${attempt}`);
      const before = said('Redis is full');
      await redis.admin.config('SET', 'maxmemory', '1');
      for (let i = 0; i < 30; i++) {
        const { cache } = await get(`unstored${attempt}-${i}`);
        if (cache === 'BYPASS') return false;
        assert.equal(cache, 'MISS');
        await get(`kept${attempt}`);
      }
      await wholeLog(frontDoor);
      assert.equal(said('Redis is full') - before, 1);
      return true;
    };
    let attempt = 1;
    while (!(await pullWhileFull(attempt))) assert.ok(++attempt <= 5, 'Redis never answers in time');
    const [cut, refused] = [cuts(), await refusedScripts()];
    await until(
      'the instance has failed to register often',
      async () => (await refusedScripts()) > refused + 4,
    );
    assert.deepEqual(cuts(), cut, 'nobody has cut the connection for that');
    await redis.admin.config('SET', 'maxmemory', '0');
    await untilHit(`unstored${attempt}-0`);
  });

  test('Redis loading its data: it is waited for by nobody', async () => {
    await redis.admin.eval("for i = 1, 300 do redis.call('SET', 'filler' .. i, i) end", 0);
    await redis.kill();
    await redis.start(false);
    for (let i = 0; i < 30; i++) assert.notEqual((await get('loading')).cache, 'HIT');
    await untilHit('loading');
  });
});
