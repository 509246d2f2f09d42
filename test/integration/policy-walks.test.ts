import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import {
  anonymous,
  authorized,
  connectClient,
  errorCode,
  exchange,
  type RawClient,
  type Response,
} from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const repositories = JSON.stringify({ repositories: ['hidden', 'public/a', 'team/a'] });

describe('lists that have to be put together', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  /** Requests for lists that upstream has not answered. */
  let held: UpstreamRequest[] = [];
  let asked = 0;
  const clients: RawClient[] = [];
  before(async () => {
    upstream = await startUpstream({
      script: (request) => {
        if (!request.startLine.includes('_catalog')) {
          request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 0'));
          return;
        }
        asked += 1;
        held.push(request);
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      config: `policy: [{ who: [anonymous], repositories: ["public/**"], actions: [pull] }, { who: [user:${user}], repositories: ["team/**"], actions: [pull] }]\n`,
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
    held = [];
    asked = 0;
  });
  /** Asks on a connection of its own, and gives the answer when it comes. */
  const ask = async (request: string): Promise<() => Promise<Response>> => {
    const client = await connectClient(frontDoor);
    clients.push(client);
    client.send(request);
    return () => client.response();
  };
  const answerHeld = () => {
    for (const request of held.splice(0))
      request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${repositories.length}`), repositories);
  };
  const isHeld = (count: number) => until(`upstream is asked ${count} times`, () => held.length === count);
  /** By then what was sent before has been looked at. */
  const roundTrip = () => exchange(frontDoor, authorized('GET /v2/'));

  test('are put together once for all who wait for the same', async () => {
    const first = await ask(anonymous('GET /v2/_catalog?n=1'));
    await isHeld(1);
    const others: (() => Promise<Response>)[] = [];
    for (let i = 0; i < 20; i += 1)
      others.push(await ask(anonymous('GET /v2/_catalog?n=1', `User-Agent: client ${i}`)));
    await roundTrip();
    assert.equal(held.length, 1, 'one walk of those who do not say who they are');
    answerHeld();
    const given = await first();
    await isHeld(1);
    answerHeld();
    for (const response of [given, ...(await Promise.all(others.map((each) => each())))]) {
      assert.equal(response.status, 200);
      assert.equal(response.body.toString(), '{"repositories":["public/a"]}\n');
    }
    assert.equal(asked, 2, 'one that was under way, and one for those who came later');
  });

  test('wait for their turn, a few of each client; a user does not wait for strangers', async () => {
    const first = await ask(anonymous('GET /v2/_catalog?n=1'));
    await isHeld(1);
    const others: Promise<Response>[] = [];
    for (let n = 2; n <= 6; n += 1) others.push((await ask(anonymous(`GET /v2/_catalog?n=${n}`)))());
    const refused = await Promise.race(others);
    assert.deepEqual([refused.status, errorCode(refused)], [429, 'TOOMANYREQUESTS']);
    assert.match(values(refused, 'retry-after').join(), /^\d+$/);
    assert.equal(held.length, 1);
    const own = await ask(authorized('GET /v2/_catalog'));
    await isHeld(2);
    answerHeld();
    assert.equal((await own()).body.toString(), '{"repositories":["team/a"]}\n');
    assert.equal((await first()).status, 200);
    for (let left = 4; left > 0; left -= 1) {
      await isHeld(1);
      answerHeld();
    }
    const statuses = (await Promise.all(others)).map(({ status }) => status);
    assert.deepEqual(statuses.sort(), [200, 200, 200, 200, 429]);
    assert.equal(asked, 6);
  });

  test('are not begun for clients that have left', async () => {
    await ask(anonymous('GET /v2/_catalog?n=1'));
    await isHeld(1);
    await ask(anonymous('GET /v2/_catalog?n=2'));
    await roundTrip();
    const [walking, waiting] = clients.splice(0);
    waiting?.leave();
    // Else its turn could come before it is known to have left.
    await frontDoor.logged(({ path, status }) => path === '/v2/_catalog' && status === 0);
    walking?.leave();
    await held[0]?.closed;
    const next = await ask(anonymous('GET /v2/_catalog?n=3'));
    await isHeld(2);
    held.shift();
    answerHeld();
    assert.equal((await next()).status, 200);
    assert.equal(asked, 2);
  });
});

describe('a list for those who may pull nothing', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      config: `policy: [{ who: [anonymous, user:${user}], repositories: ["incoming/**"], actions: [push] }]\n`,
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  test('is empty for a user, and upstream is not asked', async () => {
    const list = await exchange(frontDoor, authorized('GET /v2/_catalog?n=5'));
    assert.deepEqual([list.status, list.body.toString()], [200, '{"repositories":[]}\n']);
    assert.match(values(list, 'content-type').join(), /^application\/json/);
    const found = await exchange(frontDoor, authorized('GET /v1/search?q=a%20b&n=5'));
    assert.deepEqual(JSON.parse(found.body.toString()), {
      ...{ query: 'a b', num_results: 0, num_pages: 0, page: 1, page_size: 5, results: [] },
    });
    assert.equal(upstream.requests.length, 0);
  });

  test('is a challenge without credentials', async () => {
    for (const path of ['/v2/_catalog?n=1', '/v1/search?q=a']) {
      const response = await exchange(frontDoor, anonymous(`GET ${path}`));
      assert.deepEqual([response.status, errorCode(response)], [401, 'UNAUTHORIZED'], path);
      assert.notEqual(values(response, 'www-authenticate').length, 0);
    }
    assert.equal(upstream.requests.length, 0);
  });
});
