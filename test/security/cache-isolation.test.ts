import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { digestOf } from '../support/cache-load.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, authorized, exchange } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const type = 'application/vnd.oci.image.manifest.v1+json';
const accept = `Accept: ${type}`;

/** Whatever is asked, the answer names the very request that it was given for. */
describe('the cache gives nobody what is not theirs', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let client: CacheClient;
  let repository: string;
  let serial = 0;
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        const body = JSON.stringify({
          line: request.startLine.replace(/^HEAD/, 'GET'),
          host: values(request, 'Host')[0],
          accept: values(request, 'Accept'),
        });
        request.answer(
          head(
            'HTTP/1.1 200 OK',
            `Content-Type: ${type}`,
            `Docker-Content-Digest: ${digestOf(body)}`,
            `Content-Length: ${Buffer.byteLength(body)}`,
          ),
          body,
        );
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['cache.tagTtl=1h', 'log.audit=false'],
    });
    client = createCacheClient(frontDoor);
  });
  after(async () => {
    client.close();
    await frontDoor.stop();
    await upstream.close();
  });
  beforeEach(() => {
    repository = `team${++serial}/app`;
  });

  describe('without the right credentials it is not even looked into', () => {
    const wrong = `Basic ${Buffer.from('alice:wrong').toString('base64')}`;
    const refused: readonly [string, string[]][] = [
      ['none', []],
      ['a wrong password', [`Authorization: ${wrong}`]],
      ['a token that nobody was given', ['Authorization: Token signature=abc,repository="a/b",access=read']],
      ['a bearer', ['Authorization: Bearer abc']],
    ];
    for (const method of ['GET', 'HEAD']) {
      for (const [what, lines] of refused) {
        test(`${method} with ${what}`, async () => {
          const target = `/v2/${repository}/manifests/latest`;
          await exchange(frontDoor, authorized(`GET ${target}`, accept));
          assert.equal(
            (await client.ask('GET', target, { headers: { Accept: type } })).header('X-Cache'),
            'HIT',
          );
          const response = await exchange(frontDoor, anonymous(`${method} ${target}`, accept, ...lines));
          assert.equal(response.status, 401);
          assert.deepEqual(values(response, 'X-Cache'), []);
          assert.deepEqual(values(response, 'Docker-Content-Digest'), []);
        });
      }
    }
    test('a version check that passes without any has nothing of the cache', async () => {
      const response = await exchange(frontDoor, anonymous('GET /v2/'));
      assert.deepEqual([response.status, values(response, 'X-Cache')], [200, []]);
    });
  });

  test('names that are like each other are kept apart', async () => {
    const targets = [
      '/v2/a/manifests/b',
      '/v2/a/b/manifests/b',
      '/v2/a/manifests/b/manifests/b',
      '/v2/a/manifests/manifests/b',
      '/v2/a/manifests/B',
      '/v2/a/manifests/b.',
      '/v2/v1/manifests/b',
      '/v2/item/b/manifests/b',
      '/v1/images/a/json',
      '/v1/images/a/ancestry',
      '/v1/images/A/json',
      '/v1/repositories/a/tags',
      '/v1/repositories/a/b/tags',
      '/v1/repositories/a/tags/b',
      '/v1/repositories/library/a/tags',
    ];
    for (const round of [1, 2]) {
      for (const target of targets) {
        const { status, body, header } = await client.ask('GET', target, { headers: { Accept: type } });
        assert.equal(status, 200, target);
        assert.equal((JSON.parse(body.toString()) as { line: string }).line, `GET ${target} HTTP/1.1`);
        assert.equal(header('X-Cache'), round === 1 ? 'MISS' : 'HIT', target);
      }
    }
  });

  test('a percent-encoded name is the name that it encodes', async () => {
    const first = await client.ask('GET', `/v2/${repository}/manifests/l%61test`, {
      headers: { Accept: type },
    });
    const second = await client.ask('GET', `/v2/${repository}/manifests/latest`, {
      headers: { Accept: type },
    });
    assert.deepEqual(second.body, first.body);
    await client.ask('PUT', `/v2/${repository.replace('t', '%74')}/manifests/lates%74`, { body: '{}' });
    const third = await client.ask('GET', `/v2/${repository}/manifests/latest`, {
      headers: { Accept: type },
    });
    assert.equal(third.header('X-Cache'), 'MISS');
  });

  test('hosts are kept apart, for an upstream that tells them apart', async () => {
    const target = `/v2/${repository}/manifests/latest`;
    for (const expected of ['MISS', 'HIT']) {
      for (const host of ['one.example', 'two.example', 'one.example:8443']) {
        const { body, header } = await client.ask('GET', target, { headers: { Accept: type, Host: host } });
        assert.equal((JSON.parse(body.toString()) as { host: string }).host, host);
        assert.equal(header('X-Cache'), expected);
      }
    }
  });

  test('what a tag gave to one Accept is not given to another', async () => {
    const target = `/v2/${repository}/manifests/latest`;
    const sets = [[type], [type, 'application/json'], [`${type};q=0.5`, '*/*'], ['*/*', type]];
    for (const accepted of sets) {
      const { body } = await client.ask('GET', target, { headers: { Accept: accepted } });
      assert.deepEqual((JSON.parse(body.toString()) as { accept: string[] }).accept, accepted);
    }
    const again = await client.ask('GET', target, { headers: { Accept: `APPLICATION/json , ${type}` } });
    assert.equal(again.header('X-Cache'), 'HIT', 'order, case and spacing mean nothing');
  });

  test('a type that is not accepted is never given, by digest either', async () => {
    const target = `/v2/${repository}/manifests/latest`;
    await client.ask('GET', target, { headers: { Accept: type } });
    for (const accepted of ['application/json', '*/*', 'application/*', `${type};q=0`, '']) {
      const { header } = await client.ask('GET', target, {
        headers: accepted === '' ? {} : { Accept: accepted },
      });
      assert.notEqual(header('X-Cache'), 'HIT', accepted);
    }
  });

  test('who sends a cookie, a token or credentials of their own for upstream shares nothing', async () => {
    const target = `/v2/${repository}/manifests/latest`;
    await client.ask('GET', target, { headers: { Accept: type } });
    for (let i = 0; i < 2; i++) {
      const { header } = await client.ask('GET', target, { headers: { Accept: type, Cookie: 'session=1' } });
      assert.equal(header('X-Cache'), 'BYPASS');
    }
  });

  test('nothing of the first client is told to upstream for the others', async () => {
    const before = upstream.requests.length;
    await client.ask('GET', `/v2/${repository}/manifests/latest`, {
      headers: { Accept: type, 'X-Secret': 'mine', 'User-Agent': 'mine', 'X-Forwarded-For': '192.0.2.7' },
    });
    const [request] = upstream.requests.slice(before);
    assert.ok(request);
    assert.doesNotMatch(request.head, /mine|192\.0\.2\.7|authorization/i);
  });
});
