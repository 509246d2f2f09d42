import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { imageType, makeImage, makeIndex, type Manifest } from '../support/manifest-registry.ts';
import { authorized, connectClient, errorCode, exchange, type RawClient } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import type { UpstreamRequest } from '../support/scripted-upstream.ts';
import { startTaggedUpstream, type TaggedUpstream } from '../support/tagged-upstream.ts';

const alice = 'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n';
const bob = 'bob:$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2\n';
const asBob = { Authorization: `Basic ${Buffer.from('bob:x').toString('base64')}` };
const created = head('HTTP/1.1 201 Created', 'Content-Length: 0');
const accepted = head('HTTP/1.1 202 Accepted', 'Content-Length: 0');
const list = 'GET /v2/app/tags/list';

const answer =
  (body: string, ...lines: string[]) =>
  (request: UpstreamRequest) =>
    request.answer(
      head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...lines),
      request.startLine.startsWith('HEAD') ? '' : body,
    );
const tagsOf = (...tags: string[]) => answer(JSON.stringify({ name: 'app', tags }));
const holding = ({ body, digest }: Manifest) => answer(body, `Docker-Content-Digest: ${digest}`);

describe('deletes beside immutable tags', { timeout: 360_000 }, () => {
  let tagged: TaggedUpstream;
  let frontDoor: FrontDoor;
  let client: CacheClient;
  let clients: RawClient[];
  before(async () => {
    tagged = await startTaggedUpstream();
    frontDoor = await startFrontDoor({
      upstreamUrl: tagged.upstream.url,
      htpasswd: alice + bob,
      config: 'immutableTags: ["**:v*"]\n',
      set: ['log.audit=false', 'limits.tagLockWait=1m', 'limits.tagLockQueue=2', 'limits.tagListBytes=1KiB'],
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
    clients = [];
  });
  afterEach(() => {
    for (const each of clients) each.leave();
  });
  const start = async (bytes: string): Promise<RawClient> => {
    const raw = await connectClient(frontDoor);
    clients.push(raw);
    raw.send(bytes);
    return raw;
  };
  const startDelete = (digest: string) => start(authorized(`DELETE /v2/app/manifests/${digest}`));
  const push = (tag: string) =>
    authorized(`PUT /v2/app/manifests/${tag}`, `Content-Type: ${imageType}`, 'Content-Length: 2') + '{}';
  /** Long enough for anything that does not wait to have happened. */
  const roundTrips = async () => {
    for (let i = 0; i < 5; i++) await client.ask('GET', '/v2/app/blobs/none');
  };
  const count = (line: string) => tagged.asked().filter((each) => each === line).length;

  test('a push does not wait while the registry is asked what the tags reach', async () => {
    tagged.state.answers = { [list]: () => {} };
    await startDelete(makeImage('free').digest);
    await until('the registry is being asked', () => count(list) === 1);
    const pushed = exchange(frontDoor, push('v1'));
    (await tagged.write(1)).answer(created);
    assert.equal((await pushed).status, 201);
  });

  test('what is pushed in the meantime counts: it is asked once more when it is its turn', async () => {
    const image = makeImage('named meanwhile');
    tagged.state.answers = { [list]: tagsOf() };
    const pusher = await start(push('v2'));
    const first = await tagged.write(1);
    const deleter = await startDelete(image.digest);
    await until('the tags have been listed', () => count(list) === 1);
    await roundTrips();
    tagged.state.answers = {
      [list]: tagsOf('v2'),
      'GET /v2/app/manifests/v2': holding(makeIndex([image])),
    };
    first.answer(created);
    assert.equal((await pusher.response()).status, 201);
    const refused = await deleter.response();
    assert.equal(refused.status, 403);
    assert.match(refused.body.toString(), /which app:v2 names/);
    assert.equal(count(list), 2);
    assert.equal(tagged.writes.length, 1);
  });

  test('of one user one is looked into at a time, and few wait; others are not kept from theirs', async () => {
    tagged.state.answers = { [list]: () => {} };
    const digests = ['1', '2', '3', '4'].map((text) => makeImage(text).digest);
    const [one, two, three, four] = await Promise.all(digests.map(startDelete));
    assert.ok(one && two && three && four);
    const crowded = await Promise.race([one, two, three, four].map((each) => each.response()));
    assert.deepEqual([crowded.status, errorCode(crowded)], [503, 'UNAVAILABLE']);
    await roundTrips();
    assert.equal(count(list), 1);
    const others = client.ask('DELETE', `/v2/app/manifests/${makeImage('bob').digest}`, { headers: asBob });
    await until("another user's is looked into", () => count(list) === 2);
    tagged.state.answers = { [list]: tagsOf() };
    const [, ofBob] = tagged.upstream.requests.filter(({ startLine }) => startLine.startsWith(list));
    ofBob?.answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
    (await tagged.write(1)).answer(accepted);
    assert.equal((await others).status, 202);
    // The next test's user is the same.
    for (const each of clients) each.leave();
    for (const digest of digests)
      await frontDoor.logged(({ path }) => path === `/v2/app/manifests/${digest}`);
  });

  test('what is known of the tags is not asked again, but whether they are what they were', async () => {
    const [image, child, other] = [makeImage('image'), makeImage('child'), makeImage('other')];
    const index = makeIndex([child]);
    const contents = {
      'GET /v2/app/manifests/v-a': holding(image),
      'HEAD /v2/app/manifests/v-a': holding(image),
      'GET /v2/app/manifests/v-b': holding(index),
      'HEAD /v2/app/manifests/v-b': holding(index),
      [`GET /v2/app/manifests/${child.digest}`]: holding(child),
    };
    tagged.state.answers = { [list]: tagsOf('v-a', 'v-b', 'latest'), ...contents };
    const erase = async () => {
      const from = tagged.asked().length;
      const answered = client.ask('DELETE', `/v2/app/manifests/${other.digest}`, { headers: asBob });
      const writes = tagged.writes.length;
      const write = await Promise.race([tagged.write(writes + 1), answered.then(() => null)]);
      write?.answer(accepted);
      const { status } = await answered;
      return { status, asked: tagged.asked().slice(from) };
    };
    const heads = ['HEAD /v2/app/manifests/v-a', 'HEAD /v2/app/manifests/v-b'];
    const unknown = `GET /v2/app/manifests/${other.digest}`;
    const forwarded = `DELETE /v2/app/manifests/${other.digest}`;
    const cold = await erase();
    assert.equal(cold.status, 202);
    assert.deepEqual(cold.asked.slice(0, 2), [list, unknown]);
    assert.deepEqual(
      cold.asked.slice(2, 5).sort(),
      Object.keys(contents)
        .filter((line) => line.startsWith('GET'))
        .sort(),
    );
    assert.deepEqual(cold.asked.slice(5), [list, ...heads, forwarded]);
    const warm = await erase();
    assert.deepEqual(warm.asked, [list, unknown, ...heads, list, ...heads, forwarded]);
    // One that somebody has moved is read again.
    tagged.state.answers = {
      ...tagged.state.answers,
      'HEAD /v2/app/manifests/v-a': holding(other),
      'GET /v2/app/manifests/v-a': holding(other),
    };
    assert.equal((await erase()).status, 403);
  });

  test('a longer list of tags than limits.tagListBytes lets nothing through, over all pages', async () => {
    const tags = Array.from({ length: 60 }, (_, i) => `latest${i}`);
    tagged.state.answers = {
      [list]: answer(JSON.stringify({ tags }), `Link: </v2/app/tags/list?last=x>; rel="next"`),
      [`${list}?last=x`]: tagsOf(...tags),
    };
    const refused = await client.ask('DELETE', `/v2/app/manifests/${makeImage('free').digest}`);
    assert.equal(refused.status, 403);
    assert.match(refused.body.toString(), /limits\.tagListBytes/);
  });

  test('a delete has no body that it could keep the others waiting with', async () => {
    const line = `DELETE /v2/app/manifests/${makeImage('free').digest}`;
    const refused = await exchange(frontDoor, authorized(line, 'Content-Length: 3') + 'abc');
    assert.deepEqual([refused.status, errorCode(refused), tagged.asked()], [400, 'BAD_REQUEST', []]);
  });
});
