import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { values } from '../support/http-message.ts';
import { authorized, clientHost, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('who is believed about the client', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let trusting: FrontDoor;
  let distrusting: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    trusting = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['listen.trustedProxies=127.0.0.0/8,192.0.2.0/24,2001:db8::/32'],
    });
    distrusting = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['listen.trustedProxies=192.0.2.0/24'],
    });
  });
  after(async () => {
    await trusting.stop();
    await distrusting.stop();
    await upstream.close();
  });

  let count = 0;
  const ask = async (frontDoor: FrontDoor, ...lines: string[]) => {
    const path = `/v2/ask/${++count}`;
    assert.equal((await exchange(frontDoor, authorized(`GET ${path}`, ...lines))).status, 200);
    const received = upstream.requests.at(-1) ?? assert.fail();
    const line = await frontDoor.logged((entry) => entry['path'] === path);
    return { received, client: line['client'], get: (name: string) => values(received, name) };
  };

  for (const [what, forwardedFor, client] of [
    ['the last, when that is not trusted', '198.51.100.1, 198.51.100.2', '198.51.100.2'],
    ['the last that is not trusted', '198.51.100.1, 198.51.100.2, 192.0.2.7', '198.51.100.2'],
    ['never the first, which anyone can write', '10.0.0.1, 198.51.100.9', '198.51.100.9'],
    ['IPv6', '2001:db9::1, 2001:db8::1', '2001:db9::1'],
    ['IPv4 in IPv6', '::ffff:198.51.100.3', '198.51.100.3'],
    ['the first, when all are trusted', '192.0.2.1, 192.0.2.2', '192.0.2.1'],
    ['the peer, when the entry is no address', '198.51.100.1, unknown', '127.0.0.1'],
    ['the peer, when the entry is nearly an address', '[198.51.100.1]', '127.0.0.1'],
    ['the peer, when the entry has an interface', 'fe80::1%eth0', '127.0.0.1'],
    ['with a port', '198.51.100.1:4711', '198.51.100.1'],
    ['IPv6 in brackets', '[2001:db9::1]', '2001:db9::1'],
    ['IPv6 with a port', '[2001:db9::1]:4711', '2001:db9::1'],
    ['IPv6 in another form', '2001:DB9:0:0::0001', '2001:db9::1'],
    ['IPv4 in IPv6 in another form', '0:0:0:0:0:FFFF:c633:6403', '198.51.100.3'],
    ['past trusted ones of any form', '198.51.100.4, ::ffff:192.0.2.7, [2001:DB8::7]:1', '198.51.100.4'],
    ['the peer, when there is none', null, '127.0.0.1'],
    ['the peer, when it is empty', '', '127.0.0.1'],
  ] as const) {
    test(`a trusted proxy's X-Forwarded-For: ${what}`, async () => {
      const { get, client: logged } = await ask(
        trusting,
        ...(forwardedFor === null ? [] : [`X-Forwarded-For: ${forwardedFor}`]),
      );
      assert.deepEqual(get('x-real-ip'), [client]);
      assert.equal(logged, client);
    });
  }

  test('a trusted proxy’s own headers stay, and its address is added', async () => {
    const { get } = await ask(
      trusting,
      'X-Forwarded-For: 198.51.100.1',
      'X-Forwarded-For: 198.51.100.2',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: public.example',
      'Forwarded: for=198.51.100.2',
    );
    assert.deepEqual(get('x-forwarded-for'), ['198.51.100.1, 198.51.100.2, 127.0.0.1']);
    assert.deepEqual(get('x-forwarded-host'), ['public.example']);
    assert.deepEqual(get('x-forwarded-proto'), ['https']);
    assert.deepEqual(get('forwarded'), ['for=198.51.100.2']);
    assert.deepEqual(get('x-real-ip'), ['198.51.100.2']);
  });

  test('anyone else’s are dropped', async () => {
    const { received, get, client } = await ask(
      distrusting,
      'X-Forwarded-For: 192.0.2.1',
      'X-Forwarded-Host: evil.example',
      'X-Real-IP: 192.0.2.1',
      'Forwarded: for=192.0.2.1',
    );
    assert.doesNotMatch(received.head, /192\.0\.2|evil/);
    assert.deepEqual(get('x-forwarded-for'), ['127.0.0.1']);
    assert.deepEqual(get('x-forwarded-host'), [clientHost]);
    assert.equal(client, '127.0.0.1');
  });
});
