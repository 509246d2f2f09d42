import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  host,
  issued,
  presented,
  readProgress,
  startAcmeDoor,
  stopDoors,
  untilIssued,
} from '../../support/acme.ts';
import { startAcmeProxy } from '../../support/acme-proxy.ts';
import { basic, type FrontDoor } from '../../support/front-door.ts';
import { startPebble, type Pebble } from '../../support/pebble.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const skip = unlessInstalled('pebble', 'pebble-challtestsrv');
const renewals = 20;
const blob = `/v2/a/blobs/sha256:${'0'.repeat(64)}`;

describe('20 renewals under load', { skip, timeout: 550_000 }, () => {
  let pebble: Pebble;
  before(async () => {
    pebble = await startPebble({ validitySeconds: 12 });
  });
  after(async () => {
    await stopDoors();
    await pebble.stop();
  });

  test('no connection, request or transfer notices', async () => {
    let isOver = false;
    // A layer that takes as long as the whole test.
    const upstream = createServer((req, res) => {
      if (req.url !== blob) {
        res.end('{}');
        return;
      }
      res.writeHead(200, { 'Content-Type': 'application/octet-stream' });
      const send = async () => {
        while (!isOver) {
          res.write(Buffer.alloc(4096, 'a'));
          await delay(20);
        }
        res.end('end');
      };
      void send();
    }).listen(0, '127.0.0.1');
    await once(upstream, 'listening');
    const { port: upstreamPort } = upstream.address() as AddressInfo;
    const door = await startAcmeDoor({
      pebble,
      upstreamUrl: `http://127.0.0.1:${upstreamPort}`,
      set: ['workers=2'],
    });
    await untilIssued(door);
    const ca = await pebble.root();
    const ask = async (agent: Agent, target: string): Promise<IncomingMessage> => {
      const asked = request({
        ...{ host: '127.0.0.1', port: door.port, path: target, agent, ca, servername: host },
        headers: { Host: host, Authorization: basic },
      }).end();
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      return answer;
    };
    const read = async (answer: IncomingMessage): Promise<string> => {
      let last = '';
      for await (const piece of answer as AsyncIterable<Buffer>) last = piece.toString();
      return last;
    };

    const kept = new Agent({ keepAlive: true, maxSockets: 1 });
    const slow = ask(new Agent({ keepAlive: true }), blob).then(read);
    let requests = 0;
    const sockets = new Set<unknown>();
    const keepAsking = async (): Promise<void> => {
      while (!isOver) {
        const answer = await ask(kept, '/v2/a/tags/list');
        sockets.add(answer.socket);
        assert.equal(answer.statusCode, 200);
        await read(answer);
        requests += 1;
        await delay(5);
      }
    };
    const connectAnew = async (): Promise<void> => {
      while (!isOver) {
        // Verified each time: what is presented is valid at that moment.
        const answer = await ask(new Agent({ keepAlive: false }), '/v2/a/tags/list');
        assert.equal(answer.statusCode, 200);
        await read(answer);
        requests += 1;
      }
    };
    const load = Promise.all([keepAsking(), connectAnew(), connectAnew()]);
    const count = () => door.log.filter(({ msg }) => issued(msg)).length;
    await Promise.race([until(`${renewals} renewals`, () => count() > renewals, 300_000), load]);
    isOver = true;
    await load;
    assert.equal(await slow, 'end');
    assert.equal(sockets.size, 1);
    assert.ok(requests > 500, String(requests));
    kept.destroy();
    await door.stop();
    upstream.close();
  });
});

describe('renewal information of the CA (RFC 9773)', { skip, timeout: 240_000 }, () => {
  let pebble: Pebble;
  before(async () => {
    pebble = await startPebble({ validitySeconds: 864_000 });
  });
  after(async () => {
    await stopDoors();
    await pebble.stop();
  });

  test('moves the renewal, and the new order names what it replaces', async () => {
    const proxy = await startAcmeProxy(pebble);
    const base = proxy.directory.replace('/dir', '');
    let window = { start: new Date(Date.now() + 3600_000), end: new Date(Date.now() + 7200_000) };
    proxy.edit(({ kind }, body) =>
      kind === 'directory'
        ? JSON.stringify({ ...(JSON.parse(body) as object), renewalInfo: `${base}/renewal-info` })
        : body,
    );
    proxy.intercept(({ path }) =>
      path.startsWith('/renewal-info/')
        ? {
            status: 200,
            headers: { 'Retry-After': '21600' },
            body: JSON.stringify({ suggestedWindow: window, explanationURL: 'https://ca.example/why' }),
          }
        : null,
    );
    const renewalOf = async (door: FrontDoor) =>
      (await readProgress(door))['renewal'] as { atMs: number; isSetByCa: boolean } | null;
    const door = await startAcmeDoor({ pebble, directory: proxy.directory });
    await untilIssued(door);
    await until('the CA was asked', async () => (await renewalOf(door))?.isSetByCa === true);
    const { atMs = 0 } = (await renewalOf(door)) ?? {};
    assert.ok(atMs >= window.start.getTime() && atMs <= window.end.getTime());
    assert.equal((await presented(door.port, { ca: await pebble.root() })).subjectaltname, `DNS:${host}`);
    // It is asked for by the name of the certificate: key of the issuer, serial number.
    const [info] = proxy.requests.filter(({ path }) => path.startsWith('/renewal-info/'));
    assert.match(info?.path ?? '', /^\/renewal-info\/[\w-]{20,}\.[\w-]{8,}$/);
    window = { start: new Date(0), end: new Date(1) };
    await door.stop();
    await proxy.stop();
  });
});
