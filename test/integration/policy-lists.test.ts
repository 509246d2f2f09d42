import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { clientHost, connectClient, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const htpasswd = ['alice', 'bob', 'carol'].map((name) => `${name}:${hash}\n`).join('');
const config = `
policy:
  - { who: [user:alice], repositories: ["**"], actions: [pull, push, delete] }
  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }
  - { who: [user:bob], repositories: ["team/secret*", "team/secret*/**"], actions: [push] }
  - { who: [user:bob], repositories: ["team/**", "library/*", "a", "aa"], actions: [pull] }
`;
type Who = 'alice' | 'bob' | 'carol' | null;

function requestHead(who: Who, request: string, ...lines: string[]): string {
  const credentials =
    who === null ? [] : [`Authorization: Basic ${Buffer.from(`${who}:x`).toString('base64')}`];
  return head(`${request} HTTP/1.1`, `Host: ${clientHost}`, ...credentials, ...lines);
}

const names = (response: Response): string[] =>
  (JSON.parse(response.body.toString()) as { repositories: string[] }).repositories;

const next = (response: Response): string | null => {
  const links = values(response, 'link');
  if (links.length === 0) return null;
  const [, target] = /^<(\/v2\/_catalog\?[^>]+)>; rel="next"$/.exec(links.join()) ?? [];
  assert.ok(target, links.join());
  return target;
};

describe(
  'the list of a real registry',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    const repositories = [
      ...['a', 'aa', 'a-b', 'a/b', 'a.b', 'public/a', 'public/a/b', 'public/a-b', 'team-b/x', 'other/x'],
      ...Array.from({ length: 40 }, (_, i) => `team/app${i}`),
      ...Array.from({ length: 40 }, (_, i) => `team/secret${i}/x`),
      ...Array.from({ length: 10 }, (_, i) => `team/z${i}/y-${i}/x`),
    ];
    const sorted = (matching: RegExp) => {
      const key = (name: string) => name.replaceAll('/', '\0');
      return repositories.filter((name) => matching.test(name)).sort((a, b) => (key(a) < key(b) ? -1 : 1));
    };
    const bobs = sorted(/^(?:team\/(?!secret).*|a|aa)$/);
    before(async () => {
      registry = await startRegistry();
      for (const name of repositories)
        for (const folder of ['_layers', '_manifests', '_uploads'])
          await mkdir(path.join(registry.storageDir, 'docker/registry/v2/repositories', name, folder), {
            recursive: true,
          });
      frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        htpasswd,
        config,
        set: ['workers=2', 'limits.catalogPages=1'],
      });
    });
    after(async () => {
      await frontDoor.stop();
      await registry.stop();
    });
    const ask = (who: Who, target: string, method = 'GET') =>
      exchange(frontDoor, requestHead(who, `${method} ${target}`));

    for (const [who, expected] of [
      ['bob', bobs],
      ['alice', sorted(/./)],
      ['carol', []],
      [null, sorted(/^public\//)],
    ] as const) {
      test(`${who ?? 'nobody'} sees ${expected.length} of ${repositories.length}`, async () => {
        const response = await ask(who, '/v2/_catalog?n=1000');
        assert.equal(response.status, 200);
        assert.deepEqual(names(response), expected);
        assert.equal(next(response), null);
        assert.match(values(response, 'content-type').join(), /^application\/json/);
      });
    }

    for (const n of [1, 7, 26, 51, 52, 53]) {
      test(`in pages of ${n}, over all workers`, async () => {
        const pages: string[][] = [];
        let target: string | null = `/v2/_catalog?n=${n}`;
        while (target !== null && pages.length < 100) {
          const response = await ask('bob', target);
          pages.push(names(response));
          target = next(response);
        }
        assert.deepEqual(pages.flat(), bobs);
        assert.equal(pages.length, Math.ceil(bobs.length / n));
      });
    }

    test('goes on after a name that a client gives, there or not', async () => {
      const from = (last: string) =>
        ask('bob', `/v2/_catalog?n=2&last=${encodeURIComponent(last)}`).then(names);
      assert.deepEqual(await from('team/app9'), ['team/z0/y-0/x', 'team/z1/y-1/x']);
      assert.deepEqual(await from('team/secret1/x'), ['team/z0/y-0/x', 'team/z1/y-1/x']);
      assert.deepEqual(await from('a/nothing'), ['aa', 'team/app0']);
      assert.deepEqual(await from('team/z9/y-9/x'), []);
    });

    test('n=0, too large, and none', async () => {
      const none = await ask('bob', '/v2/_catalog?n=0');
      assert.deepEqual([names(none), next(none)], [[], null]);
      const tooLarge = await ask('bob', '/v2/_catalog?n=1001');
      assert.deepEqual([tooLarge.status, errorCode(tooLarge)], [400, 'PAGINATION_NUMBER_INVALID']);
      for (const query of ['', '?n=-1', '?n=x', '?n=', '?last='])
        assert.deepEqual(names(await ask('bob', `/v2/_catalog${query}`)), bobs, query);
    });

    test('HEAD has the head of GET', async () => {
      const get = await ask('bob', '/v2/_catalog?n=5');
      const headed = await ask('bob', '/v2/_catalog?n=5', 'HEAD');
      assert.equal(headed.status, 200);
      assert.equal(headed.body.length, 0);
      for (const name of ['content-length', 'link', 'content-type'])
        assert.deepEqual(values(headed, name), values(get, name));
    });
  },
);

type Reply = { readonly lines?: readonly string[]; readonly status?: string; readonly body: string };

describe('a list', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  /** What upstream says to a target; none: it says nothing. */
  let reply: (target: string) => Reply | null = () => null;
  let asked: UpstreamRequest[] = [];
  before(async () => {
    upstream = await startUpstream({
      script: (request) => {
        asked.push(request);
        const said = reply(request.startLine.split(' ')[1] ?? '');
        if (said === null) return;
        const { status = '200 OK', lines = [], body } = said;
        request.answer(head(`HTTP/1.1 ${status}`, ...lines, `Content-Length: ${body.length}`), body);
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd,
      config,
      set: [
        'limits.catalogPages=3',
        'limits.catalogPageBytes=64KiB',
        'upstream.username=front',
        'upstream.password=door',
      ],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  beforeEach(() => (asked = []));
  const ask = (who: Who, target: string, ...lines: string[]) =>
    exchange(frontDoor, requestHead(who, `GET ${target}`, ...lines));
  const targets = () => asked.map(({ startLine }) => startLine.split(' ')[1]);
  const catalog = (list: readonly string[], ...lines: string[]): Reply => ({
    lines,
    body: JSON.stringify({ repositories: list }),
  });

  test('is asked for in the name of the front door, and only for the whole of a list', async () => {
    reply = () => catalog([]);
    const lines = ['Accept-Encoding: gzip', 'If-None-Match: "x"', 'Range: bytes=0-1', 'User-Agent: test'];
    await ask('bob', '/v2/_catalog?n=2&other=1', ...lines, 'X-Forwarded-For: 192.0.2.1');
    const [request] = asked;
    assert.ok(request);
    assert.equal(request.startLine, 'GET /v2/_catalog?n=1000 HTTP/1.1');
    const sent = (name: string) => values(request, name).join();
    assert.equal(sent('authorization'), `Basic ${Buffer.from('front:door').toString('base64')}`);
    assert.equal(sent('host'), clientHost);
    assert.equal(sent('x-forwarded-for'), '127.0.0.1');
    assert.equal(sent('x-forwarded-proto'), 'https');
    assert.equal(sent('user-agent'), 'test');
    assert.equal(sent('accept-encoding'), 'identity');
    assert.equal(sent('if-none-match') + sent('range'), '');
  });

  test('says nothing of what is left out, not by its head either', async () => {
    const fields = ['ETag: "list"', 'X-Total-Count: 3', 'Last-Modified: x', 'Content-MD5: x', 'Server: s'];
    const kept = ['Content-Type: application/json', 'Access-Control-Allow-Origin: *'];
    reply = () => catalog(['a', 'hidden', 'team/secret'], ...fields, ...kept);
    const response = await ask('bob', '/v2/_catalog');
    assert.equal(response.body.toString(), '{"repositories":["a"]}\n');
    for (const name of ['etag', 'x-total-count', 'last-modified', 'content-md5', 'link'])
      assert.deepEqual(values(response, name), [], name);
    assert.deepEqual(values(response, 'access-control-allow-origin'), ['*']);
    assert.deepEqual(values(response, 'content-type'), ['application/json']);
  });

  test('comes as it is to who may pull everything', async () => {
    reply = () =>
      catalog(['a', 'hidden'], 'ETag: "list"', 'Link: </v2/_catalog?last=hidden&n=2>; rel="next"');
    const response = await ask('alice', '/v2/_catalog?n=2&other=1', 'If-None-Match: "x"');
    assert.deepEqual(targets(), ['/v2/_catalog?n=2&other=1']);
    assert.deepEqual(values(response, 'etag'), ['"list"']);
    assert.deepEqual(names(response), ['a', 'hidden']);
  });

  test('is read as far as the limit, and goes on from there', async () => {
    reply = (target) => {
      const page = Number(/page=(\d)/.exec(target)?.[1] ?? 1);
      const link = page < 5 ? [`Link: <http://elsewhere.test/x?page=${page + 1}>; rel="next"`] : [];
      return catalog([`hidden/${page}`, ...(page === 5 ? ['aa'] : [])], ...link);
    };
    const first = await ask('bob', '/v2/_catalog?n=2');
    assert.deepEqual(targets(), ['/v2/_catalog?n=1000', '/v2/_catalog?page=2', '/v2/_catalog?page=3']);
    assert.deepEqual(names(first), []);
    const target = next(first);
    assert.ok(target !== null);
    assert.match(target, /^\/v2\/_catalog\?last=~[\w-]+&n=2$/);
    const second = await ask('bob', target);
    assert.deepEqual([names(second), next(second)], [['aa'], null]);
    assert.equal(asked.length, 5);
    assert.equal((await ask('bob', target.replace('~', '~A'))).status, 400);
    assert.equal(asked.length, 5);
  });

  for (const [name, said, status] of [
    [
      '501',
      { status: '501 Not Implemented', body: '{"errors":[{"code":"UNSUPPORTED","message":"no"}]}' },
      501,
    ],
    ['404', { status: '404 Not Found', body: 'nothing' }, 404],
    ['503', { status: '503 Service Unavailable', lines: ['Retry-After: 7'], body: 'later' }, 503],
    ['401', { status: '401 Unauthorized', body: 'who?' }, 401],
  ] as const) {
    test(`that the registry refuses with ${name} is refused so`, async () => {
      reply = () => said;
      for (const target of ['/v2/_catalog', '/v1/search?q=a']) {
        const response = await ask('bob', target);
        assert.deepEqual([response.status, response.body.toString()], [status, said.body]);
        if ('lines' in said) assert.deepEqual(values(response, 'retry-after'), ['7']);
      }
    });
  }

  for (const [name, said] of [
    ['is no JSON', { body: 'hidden' }],
    ['is no list', { body: '{"repositories":{"hidden":1},"results":1}' }],
    ['is packed', { lines: ['Content-Encoding: gzip'], body: 'hidden' }],
    ['is too large', catalog([`hidden/${'x'.repeat(70_000)}`])],
    ['leads elsewhere', { status: '302 Found', lines: ['Location: /hidden'], body: 'hidden' }],
    ['is a part', { status: '206 Partial Content', body: '{"repositories":["a"],"results":[]}' }],
  ] as const satisfies readonly (readonly [string, Reply])[]) {
    test(`that ${name} is a 502`, async () => {
      reply = () => said;
      for (const target of ['/v2/_catalog', '/v1/search?q=a']) {
        const response = await ask('bob', target);
        assert.deepEqual([response.status, errorCode(response)], [502, 'BAD_GATEWAY']);
        assert.doesNotMatch(response.head + response.body.toString(), /hidden/);
      }
    });
  }

  test('is not asked for any further when the client leaves', async () => {
    reply = () => null;
    const client = await connectClient(frontDoor);
    client.send(requestHead('bob', 'GET /v2/_catalog'));
    await until('upstream is asked', () => Promise.resolve(asked.length > 0));
    client.leave();
    await asked[0]?.closed;
    const line = await frontDoor.logged((entry) => entry['path'] === '/v2/_catalog' && entry['status'] === 0);
    assert.equal(line['code'], undefined);
  });

  describe('of what v1 finds', () => {
    const results = (...found: string[]) =>
      found.map((name, i) => ({ name, description: `number ${i}`, star_count: i }));
    const search = (who: Who, query: string) => ask(who, `/v1/search${query}`);
    const json = (response: Response) => JSON.parse(response.body.toString()) as Record<string, unknown>;
    const all = results('team/x', 'other/hidden', 'library/b', 'team/secret', 'b', 'c', 'Bad/../name');

    test('has what may be pulled, and its number', async () => {
      reply = () => ({ body: JSON.stringify({ query: 'x', num_results: 7, extra: 'hidden', results: all }) });
      const response = await search('bob', '?q=x%20y&n=25');
      assert.deepEqual(targets(), ['/v1/search?q=x%20y&n=100&page=1']);
      // A name without a slash is one in library/.
      const found = [all[0], all[2], all[5]];
      assert.deepEqual(json(response), {
        query: 'x',
        num_results: 3,
        num_pages: 1,
        page: 1,
        page_size: 25,
        results: found,
      });
      assert.deepEqual(json(await search('bob', '?q=x')), { query: 'x', num_results: 3, results: found });
      assert.deepEqual(json(await search(null, '?q=x'))['results'], []);
    });

    test('has pages of its own', async () => {
      reply = () => ({ body: JSON.stringify({ query: 'x', num_results: 7, results: all }) });
      const page = json(await search('bob', '?q=x&n=2&page=2'));
      assert.deepEqual(page, {
        query: 'x',
        num_results: 3,
        num_pages: 2,
        page: 2,
        page_size: 2,
        results: [all[5]],
      });
      assert.deepEqual(json(await search('bob', '?q=x&n=2&page=9'))['results'], []);
    });

    test("is read from all of the registry's pages, as far as the limit", async () => {
      reply = (target) => {
        const page = Number(/page=(\d)/.exec(target)?.[1]);
        return {
          body: JSON.stringify({ num_pages: 4, results: results(`team/x${page}`, `other/x${page}`) }),
        };
      };
      const found = json(await search('bob', '?q=x'));
      assert.equal(found['num_results'], 3);
      assert.deepEqual(
        targets(),
        [1, 2, 3].map((page) => `/v1/search?q=x&n=100&page=${page}`),
      );
    });

    test('is asked for once more of a registry that knows no pages, and has nothing twice', async () => {
      const many = results(...Array.from({ length: 150 }, (_, i) => `team/x${i}`));
      reply = () => ({ body: JSON.stringify({ results: many }) });
      assert.equal(json(await search('bob', '?q=x'))['num_results'], 150);
      assert.equal(asked.length, 2);
    });

    test('comes as it is to who may pull everything', async () => {
      reply = () => ({ body: 'whatever' });
      assert.equal((await search('alice', '?q=x&n=25')).body.toString(), 'whatever');
      assert.deepEqual(targets(), ['/v1/search?q=x&n=25']);
    });
  });
});
