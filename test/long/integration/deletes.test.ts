import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { imageType, makeImage } from '../../support/manifest-registry.ts';
import { authorized, errorCode, type RawClient } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
} from '../../support/scripted-upstream.ts';
import { connectToWorker, untilGone, workerPids } from '../../support/workers.ts';

const { digest, body } = makeImage('one');
const ok = head('HTTP/1.1 200 OK', 'Content-Length: 0');
const created = head('HTTP/1.1 201 Created', 'Content-Length: 0');
const accepted = head('HTTP/1.1 202 Accepted', 'Content-Length: 0');
const push = (tag: string, repository = 'app') =>
  authorized(
    `PUT /v2/${repository}/manifests/${tag}`,
    `Content-Type: ${imageType}`,
    `Content-Length: ${body.length}`,
  );
const deleted = authorized(`DELETE /v2/app/manifests/${digest}`);
const headOf = (repository: string) => authorized(`HEAD /v2/${repository}/blobs/${digest}`);

describe('deletes have their repository for themselves', { timeout: 480_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let clients: RawClient[];
  let pids: number[];
  /** Requests that upstream has and has not answered; what `answers` says of is answered at once. */
  let waiting: UpstreamRequest[];
  let answers: (line: string) => string | undefined;

  beforeEach(async () => {
    clients = [];
    waiting = [];
    answers = () => undefined;
    upstream = await startUpstream({
      script: async (request) => {
        const answer = answers(request.startLine);
        if (answer === undefined) waiting.push(request);
        await request.body();
        if (answer !== undefined) request.answer(answer);
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      config: 'immutableTags: ["locked/**:*"]\n',
      set: [
        ...['workers=2', 'log.audit=false', 'upstream.readTimeout=20s', 'limits.deleteWait=6s'],
        ...['limits.heldPerRepository=2', 'limits.heldRequests=3', 'limits.deleteQueue=1'],
      ],
    });
    pids = await workerPids(frontDoor);
  });
  afterEach(async () => {
    for (const client of clients) client.leave();
    await frontDoor.stop();
    await upstream.close();
  });

  /** Sends something to one of the workers. */
  const send = async (worker: number, ...bytes: string[]): Promise<RawClient> => {
    const client = await connectToWorker(frontDoor, pids[worker] ?? 0);
    clients.push(client);
    client.send(bytes.join('')); // in one piece: no head goes on without its body
    return client;
  };
  const lines = () => waiting.map(({ startLine }) => startLine.replace(' HTTP/1.1', ''));
  const arrived = async (start: string): Promise<UpstreamRequest> => {
    const find = () => waiting.find(({ startLine }) => startLine.startsWith(start));
    await until(`upstream has ${start}`, () => find() !== undefined);
    return find() ?? assert.fail();
  };
  /** Long enough for anything that does not wait to have happened. */
  const roundTrips = async () => {
    for (const worker of [0, 1]) await send(worker);
  };

  const underWay: readonly (readonly [string, number, string[], string])[] = [
    ['a push', 201, [push('v1'), body], created],
    ["a pull's question", 404, [headOf('app')], head('HTTP/1.1 404 Not Found', 'Content-Length: 0')],
    [
      "a manifest's fetch for the cache",
      404,
      [authorized('GET /v2/app/manifests/v1')],
      head('HTTP/1.1 404 Not Found', 'Content-Length: 0'),
    ],
    [
      "an upload's end",
      201,
      [authorized(`PUT /v2/app/blobs/uploads/1?digest=${digest}`, 'Content-Length: 0')],
      created,
    ],
    [
      'a mount from there',
      201,
      [authorized(`POST /v2/b/blobs/uploads/?mount=${digest}&from=app`, 'Content-Length: 0')],
      created,
    ],
  ];
  for (const [name, status, bytes, answer] of underWay)
    test(`${name} under way in another worker is waited for; what comes then is held`, async () => {
      const first = await send(0, ...bytes);
      await until('it is with upstream', () => waiting.length === 1);
      const second = await send(1, deleted);
      await roundTrips();
      assert.equal(waiting.length, 1);
      waiting[0]?.answer(answer);
      assert.equal((await first.response(bytes[0]?.split(' ')[0])).status, status);
      const removal = await arrived('DELETE');
      const third = await send(0, ...bytes);
      const other = await send(0, headOf('other'));
      (await arrived('HEAD /v2/other')).answer(ok);
      assert.equal((await other.response('HEAD')).status, 200);
      await roundTrips();
      assert.equal(waiting.filter((request) => !request.startLine.includes('/other/')).length, 2);
      removal.answer(accepted);
      assert.equal((await second.response()).status, 202);
      await until('what was held is with upstream', () => waiting.length === 4);
      waiting[3]?.answer(answer);
      assert.equal((await third.response(bytes[0]?.split(' ')[0])).status, status);
    });

  test('a body that comes slowly keeps no delete waiting, and its last byte waits for the delete', async () => {
    const session = `PUT /v2/app/blobs/uploads/1?digest=${digest}`;
    const slow = [
      await send(0, push('v1'), body.slice(0, 10)),
      await send(0, authorized(session, 'Content-Length: 20'), body.slice(0, 10)),
      await send(1, authorized(session, 'Transfer-Encoding: chunked'), '5\r\nhello\r\n'),
    ];
    await until('upstream has three heads', () => waiting.length === 3);
    const removed = await send(1, deleted);
    const removal = await arrived('DELETE');
    slow[0]?.send(body.slice(10));
    slow[1]?.send(body.slice(0, 10));
    const last = slow[2];
    last?.send('0\r\n\r\n');
    await roundTrips();
    const complete = Promise.all(waiting.slice(0, 3).map((request) => request.body()));
    assert.equal(await Promise.race([complete, delay(200, 'not whole')]), 'not whole');
    removal.answer(accepted);
    assert.equal((await removed.response()).status, 202);
    const bodies = await complete;
    assert.deepEqual(
      bodies.map((each) => each.body.toString()).sort(),
      [body, body.slice(0, 10) + body.slice(0, 10), 'hello'].sort(),
    );
    for (const request of waiting) request.answer(created);
    for (const client of slow) assert.equal((await client.response()).status, 201);
  });

  test('more than may be held are turned away; who leaves makes room; time has an end', async () => {
    const removed = await send(1, deleted);
    await arrived('DELETE');
    const held = [await send(0, headOf('app')), await send(0, headOf('app'))];
    await roundTrips();
    const crowded = await send(0, authorized(`GET /v2/app/blobs/${digest}`));
    const refused = await crowded.response();
    assert.deepEqual([refused.status, errorCode(refused)], [503, 'UNAVAILABLE']);
    assert.equal(values(refused, 'retry-after').length, 1);
    held[0]?.leave();
    await frontDoor.logged(({ path, method }) => method === 'HEAD' && path === `/v2/app/blobs/${digest}`);
    const room = await send(0, authorized(`GET /v2/app/manifests/v1`));
    const late = await room.response();
    assert.match(late.body.toString(), /A delete in app has not ended in time/);
    assert.deepEqual([late.status, errorCode(late)], [503, 'UNAVAILABLE']);
    assert.deepEqual(lines(), [`DELETE /v2/app/manifests/${digest}`]);
    waiting[0]?.answer(accepted);
    assert.equal((await removed.response()).status, 202);
  });

  test('a delete that cannot have its turn is refused, and upstream hears nothing of it', async () => {
    const pull = await send(0, headOf('app'));
    await arrived('HEAD');
    const deleters = [await send(1), await send(0), await send(1)];
    for (const deleter of deleters) deleter.send(deleted);
    const messages: string[] = [];
    for (const deleter of deleters) {
      const refused = await deleter.response();
      assert.deepEqual([refused.status, errorCode(refused)], [503, 'UNAVAILABLE']);
      assert.equal(values(refused, 'retry-after').length, 1);
      messages.push(refused.body.toString());
    }
    const count = (form: RegExp) => messages.filter((message) => form.test(message)).length;
    assert.equal(count(/Too many deletes in app are waiting/), 1);
    assert.equal(count(/have not ended in time for a delete/), 2);
    assert.equal(waiting.length, 1);
    waiting[0]?.answer(ok);
    assert.equal((await pull.response('HEAD')).status, 200);
    answers = () => accepted;
    assert.equal((await (await send(0, deleted)).response()).status, 202);
  });

  test('while a delete waits, and tries again and again, the rest goes on', async () => {
    await send(0, headOf('app'));
    await arrived('HEAD');
    answers = (line) => (line.startsWith('DELETE') ? undefined : ok);
    const removed = await send(1, deleted);
    const state = { isOver: false };
    void removed.response().then(() => (state.isOver = true));
    let pulls = 0;
    for (const client = await send(1); !state.isOver; pulls += 1) {
      client.send(headOf('app'));
      assert.equal((await client.response('HEAD')).status, 200);
    }
    assert.ok(pulls > 10, `${pulls} pulls`);
  });

  test('who leaves while its delete is with the registry ends nothing before the registry is done', async () => {
    const removed = await send(1, deleted);
    const removal = await arrived('DELETE');
    removed.leave();
    await frontDoor.logged(({ method }) => method === 'DELETE');
    const pull = await send(0, headOf('app'));
    await roundTrips();
    assert.equal(waiting.length, 1);
    removal.answer(accepted);
    (await arrived('HEAD')).answer(ok);
    assert.equal((await pull.response('HEAD')).status, 200);
  });

  test('a delete that loses its client and then the registry holds up nobody for long', async () => {
    const removed = await send(1, deleted);
    const removal = await arrived('DELETE');
    removed.leave();
    await frontDoor.logged(({ method }) => method === 'DELETE');
    const pull = await send(0, headOf('app'));
    removal.socket.resetAndDestroy();
    const line = await frontDoor.logged(({ code, msg }) => code === 'BAD_GATEWAY' && msg !== 'request');
    assert.match(line.msg, /it closed the connection before it answered/);
    (await arrived('HEAD')).answer(ok);
    assert.equal((await pull.response('HEAD')).status, 200);
  });

  test('a worker that starts during a delete holds, too; one that dies with it holds up nobody for long', async () => {
    const [bystander = 0, deleter = 0] = pids;
    await send(1, deleted);
    const removal = await arrived('DELETE');
    process.kill(bystander, 'SIGKILL');
    await untilGone(bystander);
    const isNew = (pid: number) => pid !== deleter && pid !== bystander;
    await until('another has started', async () => (await workerPids(frontDoor)).some(isNew));
    pids[0] = (await workerPids(frontDoor)).find(isNew) ?? 0;
    await frontDoor.logged(
      ({ msg, workerPid }) => msg === 'a worker process is listening' && workerPid === pids[0],
    );
    const pull = await send(0, headOf('app'));
    for (let i = 0; i < 3; i += 1) await send(0);
    assert.deepEqual(lines(), [`DELETE /v2/app/manifests/${digest}`]);
    process.kill(deleter, 'SIGKILL');
    const diedAtMs = performance.now();
    await once(removal.socket, 'close');
    (await arrived('HEAD')).answer(ok);
    assert.ok(performance.now() - diedAtMs > 2900);
    assert.equal((await pull.response('HEAD')).status, 200);
  });

  test('what a worker had under way when it died is waited for as long', async () => {
    await send(0, push('v1'), body);
    await arrived('PUT');
    process.kill(pids[0] ?? 0, 'SIGKILL');
    const diedAtMs = performance.now();
    await untilGone(pids[0] ?? 0);
    const removed = await send(1, deleted);
    (await arrived('DELETE')).answer(accepted);
    assert.ok(performance.now() - diedAtMs > 2900);
    assert.equal((await removed.response()).status, 202);
  });

  test('nobody waits for each other where there are immutable tags', async () => {
    answers = (line) => {
      if (line.startsWith('DELETE')) return accepted;
      if (line.startsWith('PUT')) return created;
      return line.includes('/tags/list')
        ? head('HTTP/1.1 200 OK', 'Content-Length: 11') + '{"tags":[]}'
        : head('HTTP/1.1 404 Not Found', 'Content-Length: 0');
    };
    const removal = `DELETE /v2/locked/app/manifests/${digest}`;
    const ends: Promise<number[]>[] = [];
    for (const worker of [0, 1]) {
      const pusher = await send(worker);
      const deleter = await send(worker);
      const run = async (client: RawClient, ...bytes: string[]) => {
        const statuses: number[] = [];
        for (let i = 0; i < 20; i += 1) {
          client.send(...bytes);
          statuses.push((await client.response()).status);
        }
        return statuses;
      };
      ends.push(run(pusher, push(`t${worker}`, 'locked/app'), body), run(deleter, authorized(removal)));
    }
    const statuses = (await Promise.all(ends)).flat();
    assert.deepEqual(
      statuses.filter((status) => status !== 201 && status !== 202 && status !== 503),
      [],
    );
    assert.ok(statuses.filter((status) => status === 201).length >= 40);
  });
});
