import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { imageType, makeImage, makeIndex } from '../../support/manifest-registry.ts';
import { authorized, connectClient, errorCode, exchange, type RawClient } from '../../support/raw-client.ts';
import { listenToLog } from '../../support/reload.ts';
import { startRedis, until, type RedisServer } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import type { UpstreamRequest } from '../../support/scripted-upstream.ts';
import { startTaggedUpstream, type TaggedUpstream } from '../../support/tagged-upstream.ts';
import { connectToWorker, workerPids } from '../../support/workers.ts';

const body = '{}';
const created = head('HTTP/1.1 201 Created', 'Content-Length: 0');
const whole = (text: string, ...lines: string[]) => [
  head('HTTP/1.1 200 OK', `Content-Length: ${text.length}`, ...lines),
  text,
];
const push = (tag: string) =>
  authorized(`PUT /v2/app/manifests/${tag}`, `Content-Type: ${imageType}`, `Content-Length: ${body.length}`) +
  body;

describe('immutable tags, when something goes wrong', { timeout: 360_000 }, () => {
  let tagged: TaggedUpstream;
  let frontDoor: FrontDoor;
  let client: CacheClient;
  let pushers: RawClient[];
  before(async () => {
    tagged = await startTaggedUpstream();
    frontDoor = await startFrontDoor({
      upstreamUrl: tagged.upstream.url,
      config: 'immutableTags: ["**:v*"]\n',
      set: [
        ...['log.audit=false', 'upstream.readTimeout=2s', 'limits.tagLockWait=1m', 'limits.tagLockQueue=2'],
        'limits.tagQuestions=6',
      ],
    });
    client = createCacheClient(frontDoor);
  });
  after(async () => {
    client.close();
    await frontDoor.stop();
    await tagged.upstream.close();
  });
  beforeEach(() => {
    tagged.state.answers = {};
    tagged.writes.length = 0;
    (tagged.upstream.requests as UpstreamRequest[]).length = 0;
    pushers = [];
  });
  afterEach(() => {
    for (const pusher of pushers) pusher.leave();
  });
  const start = async (...bytes: string[]): Promise<RawClient> => {
    const pusher = await connectClient(frontDoor);
    pushers.push(pusher);
    pusher.send(...bytes);
    return pusher;
  };
  /** Long enough for anything that does not wait to have happened. */
  const roundTrips = async () => {
    for (let i = 0; i < 5; i++) await client.ask('GET', '/v2/other/blobs/none');
  };

  for (const [name, status, answer] of [
    ['500', 502, (request) => request.answer(head('HTTP/1.1 500 No', 'Content-Length: 0'))],
    ['401', 502, (request) => request.answer(head('HTTP/1.1 401 No', 'Content-Length: 0'))],
    ['a redirect', 502, (request) => request.answer(head('HTTP/1.1 302 No', 'Content-Length: 0'))],
    ['a closed connection', 502, (request) => request.socket.destroy()],
    ['silence', 504, () => {}],
  ] as const satisfies [string, number, (request: UpstreamRequest) => void][])
    test(`${name} for an answer lets nothing through`, async () => {
      tagged.state.answers = {
        'HEAD /v2/app/manifests/v1': answer,
        'GET /v2/one/tags/list': answer,
        'GET /v2/two/tags/list': answer,
      };
      const { digest } = makeImage('one');
      const answers = await Promise.all([
        exchange(frontDoor, push('v1')),
        client.ask('DELETE', `/v2/one/manifests/${digest}`),
        client.ask('DELETE', `/v2/two/blobs/${digest}`),
      ]);
      assert.deepEqual(
        answers.map((each) => each.status),
        [status, status, status],
      );
      assert.equal(tagged.writes.length, 0);
    });

  test('a second push waits for the first, and asks after its answer', async () => {
    const one = await start(push('v1'));
    const first = await tagged.write(1);
    const two = await start(push('v1'));
    const other = await start(push('latest'));
    await tagged.write(2); // of a tag that may be moved
    await roundTrips();
    const heads = () => tagged.asked().filter((line) => line.startsWith('HEAD')).length;
    assert.equal(heads(), 1);
    tagged.state.answers = {
      'HEAD /v2/app/manifests/v1': (request) =>
        request.answer(
          head('HTTP/1.1 200 OK', `Docker-Content-Digest: ${makeImage('x').digest}`, 'Content-Length: 5'),
        ),
    };
    first.answer(created);
    assert.equal((await one.response()).status, 201);
    const refused = await two.response();
    assert.deepEqual([refused.status, errorCode(refused), heads()], [403, 'DENIED', 2]);
    tagged.writes[1]?.answer(created);
    assert.equal((await other.response()).status, 201);
  });

  test("a digest's delete and a tag's push do not meet", async () => {
    const { digest } = makeImage('one');
    const deleted = client.ask('DELETE', `/v2/app/manifests/${digest}`);
    const first = await tagged.write(1);
    const two = await start(push('v1'));
    await roundTrips();
    assert.equal(tagged.asked().includes('HEAD /v2/app/manifests/v1'), false);
    first.answer(head('HTTP/1.1 202 Accepted', 'Content-Length: 0'));
    assert.equal((await deleted).status, 202);
    (await tagged.write(2)).answer(created);
    assert.equal((await two.response()).status, 201);
  });

  test('more than may wait are turned away; who leaves makes room, and is never asked about', async () => {
    const one = await start(push('v1'));
    const first = await tagged.write(1);
    const two = await start(push('v2'));
    const three = await start(push('v3'));
    let crowded: RawClient | undefined;
    await until('too many wait', async () => {
      // One of them may come before those that are to wait.
      crowded = await start(push('v4'));
      const line = await Promise.race([crowded.response(), roundTrips()]);
      if (!line) crowded.leave();
      else {
        assert.deepEqual([line.status, errorCode(line)], [503, 'UNAVAILABLE']);
        assert.equal(values(line, 'retry-after').length, 1);
      }
      return line !== undefined;
    });
    two.leave();
    three.leave();
    await frontDoor.logged((line) => line['path'] === '/v2/app/manifests/v3');
    const last = await start(push('v5'));
    first.answer(created);
    assert.equal((await one.response()).status, 201);
    (await tagged.write(2)).answer(created);
    assert.equal((await last.response()).status, 201);
    const asked = tagged.asked().filter((line) => line.startsWith('HEAD'));
    assert.deepEqual(asked, ['HEAD /v2/app/manifests/v1', 'HEAD /v2/app/manifests/v5']);
  });

  test('who leaves while its push is with the registry locks it until the registry is done', async () => {
    const one = await start(push('v1'));
    const first = await tagged.write(1);
    const logged = listenToLog(frontDoor);
    one.leave();
    const line = await logged(({ path }) => path === '/v2/app/manifests/v1');
    assert.equal(line['reason'], 'client-left');
    const two = await start(push('v2'));
    await roundTrips();
    assert.equal(first.socket.destroyed, false);
    assert.equal(tagged.writes.length, 1);
    first.answer(created);
    (await tagged.write(2)).answer(created);
    assert.equal((await two.response()).status, 201);
  });

  test('who leaves while the registry says nothing locks it for as long as that may be silent, and a while more', async () => {
    const one = await start(push('v1'));
    const first = await tagged.write(1);
    one.leave();
    const two = await start(push('v2'));
    await first.closed; // upstream.readTimeout
    const closedMs = performance.now();
    (await tagged.write(2)).answer(created);
    assert.ok(performance.now() - closedMs > 2900);
    assert.equal((await two.response()).status, 201);
  });

  test('all pages of the tags are read, and as much as limits.tagQuestions allows', async () => {
    const images = ['a', 'b', 'c', 'd'].map(makeImage);
    const [, , , last] = images;
    assert.ok(last);
    const index = makeIndex(images);
    const list = '/v2/app/tags/list';
    const tags = (names: string[], ...lines: string[]) =>
      whole(JSON.stringify({ name: 'app', tags: names }), ...lines);
    const next = (query: string) => `Link: <${list}${query}>; rel="next"`;
    const pages = {
      [`GET ${list}`]: (request: UpstreamRequest) => request.answer(...tags(['a'], next('?last=a'))),
      [`GET ${list}?last=a`]: (request: UpstreamRequest) =>
        request.answer(...tags(['v1'], next('?last=v1&n=1'))),
      [`GET ${list}?last=v1&n=1`]: (request: UpstreamRequest) => request.answer(...tags(['v2'])),
      'GET /v2/app/manifests/v2': (request: UpstreamRequest) => request.answer(...whole(index.body)),
    };
    tagged.state.answers = pages;
    const refused = await client.ask('DELETE', `/v2/app/manifests/${last.digest}`);
    assert.match(refused.body.toString(), /which app:v2 names/);
    const six = tagged.asked().length;
    assert.equal(six, 6);
    tagged.state.answers = {
      ...pages,
      [`GET ${list}?last=v1&n=1`]: (request: UpstreamRequest) => request.answer(...tags(['v2', 'v3'])),
    };
    const much = await client.ask('DELETE', `/v2/app/manifests/${makeImage('free').digest}`);
    assert.equal(much.status, 403);
    assert.match(much.body.toString(), /limits\.tagQuestions/);
    tagged.state.answers = {
      ...pages,
      [`GET ${list}`]: (request: UpstreamRequest) =>
        request.answer(...tags(['a'], `Link: <${list}?last=a>; title="more"; rel=next`)),
    };
    assert.equal((await client.ask('DELETE', `/v2/app/manifests/${last.digest}`)).status, 502);
    for (const [answer, status] of [
      ['{"tags":7}', 502],
      ['not JSON', 502],
      ['{"tags":["../x"]}', 502],
      ['{"tags":null}', 202],
    ] as const) {
      tagged.state.answers = {
        [`GET ${list}`]: (request) => request.answer(...whole(answer)),
        [`DELETE /v2/app/blobs/${last.digest}`]: (request) =>
          request.answer(head('HTTP/1.1 202 Accepted', 'Content-Length: 0')),
      };
      assert.equal((await client.ask('DELETE', `/v2/app/blobs/${last.digest}`)).status, status);
    }
  });

  test('the first protocol: a tag that is there is not set again, and nothing goes that could be one', async () => {
    const path = '/v1/repositories/team/app/tags/v1';
    const set = client.ask('PUT', path, { body: '"0a"' });
    (await tagged.write(1)).answer(head('HTTP/1.1 200 OK', 'Content-Length: 0'));
    assert.equal((await set).status, 200);
    assert.deepEqual(tagged.asked(), [`GET ${path}`, `PUT ${path}`]);
    tagged.state.answers = { [`GET ${path}`]: (request) => request.answer(...whole('"0a"')) };
    for (const request of [
      `PUT ${path}`,
      `DELETE ${path}`,
      'DELETE /v1/repositories/team/app/tags',
      'DELETE /v1/repositories/team/app/',
      'DELETE /v1/repositories/app',
      'DELETE /v1/repositories/team/app/tags/',
      'PUT /v1/repositories/team/app/tags/v1/json',
    ]) {
      const [method = '', target = ''] = request.split(' ');
      assert.equal(
        (await client.ask(method, target, method === 'PUT' ? { body: '"0b"' } : {})).status,
        403,
        request,
      );
    }
    const free = client.ask('DELETE', '/v1/repositories/team/app/tags/latest');
    (await tagged.write(2)).answer(head('HTTP/1.1 200 OK', 'Content-Length: 0'));
    assert.equal((await free).status, 200);
  });
});

test('a worker that dies with a lock gives it back', { timeout: 240_000 }, async () => {
  const tagged = await startTaggedUpstream();
  const frontDoor = await startFrontDoor({
    upstreamUrl: tagged.upstream.url,
    config: 'immutableTags: ["**:v*"]\n',
    set: ['workers=2', 'log.audit=false'],
  });
  try {
    const [one = 0, two = 0] = await workerPids(frontDoor);
    const holder = await connectToWorker(frontDoor, one);
    const waiter = await connectToWorker(frontDoor, two);
    holder.send(push('v1'));
    await tagged.write(1);
    waiter.send(push('v1'));
    process.kill(one, 'SIGKILL');
    (await tagged.write(2)).answer(created);
    assert.equal((await waiter.response()).status, 201);
    waiter.leave();
  } finally {
    await frontDoor.stop();
    await tagged.upstream.close();
  }
});

describe('immutable tags with a Redis', { timeout: 360_000, skip: unlessInstalled('redis-server') }, () => {
  let tagged: TaggedUpstream;
  let redis: RedisServer;
  let frontDoor: FrontDoor;
  before(async () => {
    tagged = await startTaggedUpstream();
    redis = await startRedis();
    frontDoor = await startFrontDoor({
      upstreamUrl: tagged.upstream.url,
      config: 'immutableTags: ["**:v*"]\n',
      set: [
        ...['cache.driver=redis', `cache.redis.url=redis://${redis.address}`, 'cache.redis.timeout=2s'],
        'log.audit=false',
      ],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await redis.stop();
    await tagged.upstream.close();
  });
  beforeEach(() => {
    tagged.writes.length = 0;
  });

  test('a push is cut off when its lock is lost', async () => {
    const pusher = await connectClient(frontDoor);
    pusher.send(push('v1'));
    const { closed } = await tagged.write(1);
    const keys = await redis.admin.keys('*:lock:app');
    assert.equal(keys.length, 1);
    assert.ok((await redis.admin.pttl(keys[0] ?? '')) > 0);
    await redis.admin.set(keys[0] ?? '', "another one's");
    await closed;
    assert.equal((await pusher.rest()).length, 0);
    assert.equal(await redis.admin.get(keys[0] ?? ''), "another one's");
    await redis.admin.del(keys);
  });

  test('without it only what needs a lock is refused, and works again when it is back', async () => {
    await redis.kill();
    const refused = await exchange(frontDoor, push('v2'));
    assert.deepEqual([refused.status, errorCode(refused)], [503, 'UNAVAILABLE']);
    const free = exchange(frontDoor, push('latest'));
    (await tagged.write(1)).answer(created);
    assert.equal((await free).status, 201);
    await redis.start();
    tagged.state.answers = { 'PUT /v2/app/manifests/v2': (request) => request.answer(created) };
    await until('it is back', async () => (await exchange(frontDoor, push('v2'))).status === 201);
  });
});
