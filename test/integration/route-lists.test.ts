import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { clientHost, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const htpasswd = ['alice', 'bob', 'carol'].map((name) => `${name}:${hash}\n`).join('');
type Who = 'alice' | 'bob' | 'carol' | null;

function requestHead(who: Who, request: string, ...lines: string[]): string {
  const credentials =
    who === null ? [] : [`Authorization: Basic ${Buffer.from(`${who}:x`).toString('base64')}`];
  return head(`${request} HTTP/1.1`, `Host: ${clientHost}`, ...credentials, ...lines);
}

const names = (response: Response): string[] => {
  assert.equal(response.status, 200, response.body.toString());
  return (JSON.parse(response.body.toString()) as { repositories: string[] }).repositories;
};
const next = (response: Response): string | null => {
  const [link] = values(response, 'link');
  return link === undefined ? null : (/^<([^>]+)>; rel="next"$/.exec(link)?.[1] ?? assert.fail(link));
};
const sortKey = (name: string) => name.replaceAll('/', '\0');
const sorted = (list: readonly string[]) => [...list].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));

type Reply = { readonly status?: string; readonly lines?: readonly string[]; readonly body: string };
/** What a registry says to a target; null: nothing. */
type Script = (target: string) => Reply | null;

const catalog = (list: readonly string[], ...lines: string[]): Reply => ({
  lines,
  body: JSON.stringify({ repositories: list }),
});
/** As docker-registry does. */
const holding =
  (...list: string[]): Script =>
  (target) => {
    const query = new URL(target, 'http://registry').searchParams;
    const last = query.get('last');
    const n = Number(query.get('n'));
    const rest = sorted(list).filter((name) => last === null || sortKey(last) < sortKey(name));
    const link = rest.length > n ? [`Link: </v2/_catalog?last=${rest[n - 1]}&n=${n}>; rel="next"`] : [];
    return catalog(rest.slice(0, n), ...link);
  };
const failing: Reply = { status: '500 Internal Server Error', body: 'library/inner' };

const own = ['app', 'hub-tools/x', 'hub/shadowed', 'web'];
const hubNames = ['library/nginx', 'library/alpine', 'grafana/grafana'];
const teamNames = ['team/a', 'team/b/c', 'other/hidden'];

describe('the list of several registries', { timeout: 240_000 }, () => {
  const registries = new Map<string, ScriptedUpstream>();
  const scripts = new Map<string, Script>();
  let asked: (UpstreamRequest & { readonly registry: string })[] = [];
  let open: FrontDoor;
  let guarded: FrontDoor;

  const routes = () => `
routes:
  - name: hub
    repositories: ["hub/**"]
    stripPrefix: hub
    namespaces: [docker.io]
    hosts: [hub.example]
    readOnly: true
    upstream: { url: "${registries.get('hub')?.url}", username: mirror, password: hubs }
  - { name: team, repositories: ["team/**", "hub/**"], upstream: { url: "${registries.get('team')?.url}" } }
`;
  before(async () => {
    for (const name of ['own', 'hub', 'team'])
      registries.set(
        name,
        await startUpstream({
          script: (request) => {
            asked.push(Object.assign(request, { registry: name }));
            const reply = scripts.get(name)?.(request.startLine.split(' ')[1] ?? '') ?? null;
            if (reply === null) return;
            const { status = '200 OK', lines = [], body } = reply;
            request.answer(head(`HTTP/1.1 ${status}`, ...lines, `Content-Length: ${body.length}`), body);
          },
        }),
      );
    const upstreamUrl = registries.get('own')?.url ?? assert.fail();
    const set = ['upstream.username=front', 'upstream.password=door', 'workers=1', 'limits.routePause=1h'];
    open = await startFrontDoor({ upstreamUrl, htpasswd, config: routes(), set });
    guarded = await startFrontDoor({
      upstreamUrl,
      htpasswd,
      set,
      config: `${routes()}
policy:
  - { who: [user:alice], repositories: ["**"], actions: [pull, push, delete] }
  - { who: [user:bob], repositories: ["app", "hub/library/*", "team/b/**"], actions: [pull] }
  - { who: ["network:127.0.0.0/8"], repositories: ["hub/library/nginx"], actions: [pull] }
`,
    });
  });
  after(async () => {
    await open.stop();
    await guarded.stop();
    for (const each of registries.values()) await each.close();
  });
  beforeEach(() => {
    asked = [];
    scripts.set('own', holding(...own));
    scripts.set('hub', holding(...hubNames));
    scripts.set('team', holding(...teamNames));
  });
  const askAt = (frontDoor: FrontDoor, who: Who, target: string, ...lines: string[]) =>
    exchange(frontDoor, requestHead(who, `GET ${target}`, ...lines));
  const ask = (target: string, ...lines: string[]) => askAt(open, 'alice', target, ...lines);
  const targets = () => asked.map(({ registry, startLine }) => `${registry} ${startLine.split(' ')[1]}`);

  const all = [
    ...['app', 'hub/grafana/grafana', 'hub/library/alpine', 'hub/library/nginx', 'hub-tools/x'],
    ...['team/a', 'team/b/c', 'web'],
  ];

  test('has every repository once, by its outer name, in the order of docker-registry', async () => {
    const response = await ask('/v2/_catalog');
    assert.deepEqual(names(response), all);
    assert.equal(next(response), null);
    assert.deepEqual(values(response, 'warning'), []);
    assert.deepEqual(targets().sort(), [
      'hub /v2/_catalog?n=1000',
      'own /v2/_catalog?n=1000',
      // What would be behind the first pattern, hub/**, is the route hub's.
      'team /v2/_catalog?last=hub&n=1000',
    ]);
  });

  for (const n of [1, 2, 3, 5, 8])
    test(`in pages of ${n}, by Link and by the last name`, async () => {
      for (const byName of [false, true]) {
        const pages: string[][] = [];
        let target: string | null = `/v2/_catalog?n=${n}`;
        while (target !== null && pages.length < 20) {
          const response: Response = await ask(target);
          pages.push(names(response));
          target = next(response);
          const last = pages.at(-1)?.at(-1) ?? '';
          if (target !== null && byName) target = `/v2/_catalog?last=${encodeURIComponent(last)}&n=${n}`;
        }
        assert.deepEqual(pages.flat(), all);
        assert.equal(pages.length, Math.ceil(all.length / n));
      }
    });

  test('is the same by ns, and at the host of a route', async () => {
    assert.deepEqual(names(await ask('/v2/_catalog?ns=docker.io')), all);
    const atHost = await exchange(
      open,
      requestHead('alice', 'GET /v2/_catalog?n=3').replace(clientHost, 'hub.example'),
    );
    assert.deepEqual(names(atHost), all.slice(0, 3));
    assert.equal(next(atHost), '/v2/_catalog?last=hub%2Flibrary%2Falpine&n=3');
    const unlisted = await ask('/v2/_catalog?ns=quay.io');
    assert.deepEqual([unlisted.status, errorCode(unlisted)], [404, 'NAME_UNKNOWN']);
  });

  test('has a HEAD, and is not packed', async () => {
    const get = await ask('/v2/_catalog?n=3', 'Accept-Encoding: gzip', 'If-None-Match: *');
    const headed = await exchange(open, requestHead('alice', 'HEAD /v2/_catalog?n=3'));
    assert.deepEqual([headed.status, headed.body.length], [200, 0]);
    for (const name of ['content-length', 'link']) assert.deepEqual(values(headed, name), values(get, name));
  });

  test('gives each registry its own credentials only', async () => {
    await ask('/v2/_catalog', 'Cookie: session=own', 'If-None-Match: "x"', 'Accept-Encoding: gzip');
    const sent = (name: string) =>
      Object.fromEntries(asked.map((request) => [request.registry, values(request, name).join()]));
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    assert.deepEqual(sent('authorization'), {
      own: basic('front:door'),
      hub: basic('mirror:hubs'),
      team: '',
    });
    assert.deepEqual(sent('cookie'), { own: 'session=own', hub: '', team: '' });
    assert.deepEqual(sent('accept-encoding'), { own: 'identity', hub: 'identity', team: 'identity' });
    assert.deepEqual(sent('if-none-match'), { own: '', hub: '', team: '' });
  });

  test('is asked for on connections that stay open', async () => {
    const accepted = () => [...registries.values()].map((registry) => registry.accepted);
    await ask('/v2/_catalog');
    const before = accepted();
    for (let i = 0; i < 3; i += 1) await ask('/v2/_catalog');
    assert.deepEqual(accepted(), before);
  });

  test('shows what its reader may pull, by outer names', async () => {
    const list = async (who: Who) => names(await askAt(guarded, who, '/v2/_catalog'));
    assert.deepEqual(await list('alice'), all);
    assert.deepEqual(await list('bob'), ['app', 'hub/library/alpine', 'hub/library/nginx', 'team/b/c']);
    assert.deepEqual(await list(null), ['hub/library/nginx']);
    asked = [];
    assert.deepEqual(await list('carol'), []);
    assert.deepEqual(targets(), []);
  });

  test('is not shared between readers who wait at the same time', async () => {
    const lists = await Promise.all(
      (['alice', 'bob', null, 'carol', 'bob', 'alice'] as const).map((who) =>
        askAt(guarded, who, '/v2/_catalog').then(names),
      ),
    );
    assert.deepEqual(
      lists.map((list) => list.length),
      [all.length, 4, 1, 0, 4, all.length],
    );
  });

  test('is an error when upstream gives none', async () => {
    scripts.set('own', () => ({
      status: '503 Service Unavailable',
      lines: ['Retry-After: 7'],
      body: 'later',
    }));
    const response = await ask('/v2/_catalog');
    assert.deepEqual([response.status, response.body.toString()], [503, 'later']);
    scripts.set('own', () => ({ status: '400 Bad Request', body: 'too many' }));
    assert.equal((await ask('/v2/_catalog?n=2000')).status, 400);
  });

  test('of a search hides what a route shadows, and asks no route', async () => {
    const results = ['app', 'hub/shadowed', 'team/shadowed', 'team-x/y'].map((name) => ({ name }));
    scripts.set('own', () => ({ body: JSON.stringify({ query: 'x', num_results: 4, results }) }));
    for (const frontDoor of [open, guarded]) {
      const response = await askAt(frontDoor, 'alice', '/v1/search?q=x');
      const found = JSON.parse(response.body.toString()) as { num_results: number; results: object[] };
      assert.deepEqual(found.results, [{ name: 'app' }, { name: 'team-x/y' }]);
      assert.equal(found.num_results, 2);
    }
    assert.deepEqual([...new Set(asked.map(({ registry }) => registry))], ['own']);
  });
});

describe('the list beside a registry that gives none', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let mirror: ScriptedUpstream;
  let reply: Script = () => null;
  let asked = 0;
  before(async () => {
    const script = (answers: Script) => (request: UpstreamRequest) => {
      const said = answers(request.startLine.split(' ')[1] ?? '');
      if (said === null) return;
      const { status = '200 OK', lines = [], body } = said;
      request.answer(
        head(`HTTP/1.1 ${status}`, ...lines, `Content-Length: ${Buffer.byteLength(body)}`),
        body,
      );
    };
    upstream = await startUpstream({ script: script(holding('app', 'web')) });
    mirror = await startUpstream({
      script: script((target) => {
        asked += 1;
        return reply(target);
      }),
    });
  });
  after(async () => {
    await upstream.close();
    await mirror.close();
  });
  /** A fresh one, which knows of no failure. */
  const withFrontDoor = async (act: (frontDoor: FrontDoor) => Promise<void>, ...set: string[]) => {
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd,
      config: `
routes:
  - { name: mirror, repositories: ["m/**"], stripPrefix: m, upstream: { url: "${mirror.url}" } }
policy:
  - { who: [user:alice], repositories: ["**"], actions: [pull] }
  - { who: [user:bob], repositories: ["app", "m/ok"], actions: [pull] }
`,
      set: ['workers=1', 'limits.routePause=1h', 'limits.catalogPageBytes=64KiB', ...set],
    });
    asked = 0;
    try {
      await act(frontDoor);
    } finally {
      await frontDoor.stop();
    }
  };
  const list = (frontDoor: FrontDoor, who: Who) => exchange(frontDoor, requestHead(who, 'GET /v2/_catalog'));

  for (const [name, said, reason] of [
    ['answers an error', failing, /^it answered 500$/],
    ['wants other credentials', { status: '401 Unauthorized', body: '' }, /^it answered 401$/],
    ['has no such list', { status: '404 Not Found', body: '' }, /^it answered 404$/],
    [
      'leads elsewhere',
      { status: '302 Found', lines: ['Location: http://x/'], body: '' },
      /^it answered 302$/,
    ],
    ['answers nonsense', { body: '<html>' }, /^it is not JSON$/],
    ['answers too much', catalog([`ok${'k'.repeat(70_000)}`]), /^its list has more than 65536 bytes$/],
    [
      'answers too many',
      catalog(Array.from({ length: 10_001 }, () => 'a')),
      /^its list has more than 10000 names/,
    ],
    ['is silent', null, /^it did not answer within limits\.routeListTimeout \(200 ms\)$/],
  ] as const satisfies readonly (readonly [string, Reply | null, RegExp])[])
    test(`because it ${name} has the others, a Warning, and a line in the log`, async () => {
      reply = () => said;
      await withFrontDoor(async (frontDoor) => {
        const [first, second] = [await list(frontDoor, 'alice'), await list(frontDoor, 'bob')];
        assert.deepEqual([names(first), names(second)], [['app', 'web'], ['app']]);
        assert.deepEqual(values(first, 'warning'), [
          '299 - "Repositories are missing in this list: no complete list came from mirror."',
        ]);
        assert.deepEqual(values(second, 'warning'), [
          '299 - "Repositories may be missing in this list: a registry gave no complete one."',
        ]);
        assert.ok(asked <= 1, `asked ${asked} times`);
        const line = await frontDoor.logged(({ upstream: route }) => route === 'mirror');
        assert.match(String(line['reason']), reason);
      }, 'limits.routeListTimeout=200ms');
    });

  test('because nobody listens there has the others', async () => {
    const listen = mirror.refuse();
    await withFrontDoor(async (frontDoor) => {
      const response = await list(frontDoor, 'alice');
      assert.deepEqual(names(response), ['app', 'web']);
      assert.equal(values(response, 'warning').length, 1);
    });
    await listen();
  });

  test('has its names again when it is back', async () => {
    reply = () => failing;
    await withFrontDoor(async (frontDoor) => {
      assert.deepEqual(names(await list(frontDoor, 'alice')), ['app', 'web']);
      reply = holding('ok');
      let response = await list(frontDoor, 'alice');
      while (values(response, 'warning').length > 0) response = await list(frontDoor, 'alice');
      assert.deepEqual(names(response), ['app', 'm/ok', 'web']);
    }, 'limits.routePause=100ms');
  });

  for (const [name, script] of [
    [
      'never ends',
      (target: string) => {
        const page = Number(new URL(target, 'http://x').searchParams.get('page') ?? 0);
        return catalog(
          ['ok', 'Bad', '../app', 'web/..'],
          `Link: </v2/_catalog?page=${page + 1}>; rel="next"`,
        );
      },
    ],
    ['links to itself', () => catalog(['ok', 'ok'], 'Link: </v2/_catalog?n=1000>; rel="next"')],
    ['names what is not its own', () => catalog(['/app', '../../app', 'ok\u0000', 'ok', 'ok//x', 'o k'])],
  ] as const satisfies readonly (readonly [string, Script])[])
    test(`where it ${name} is bounded, and has nothing but names of its route`, async () => {
      reply = script;
      await withFrontDoor(async (frontDoor) => {
        assert.deepEqual(names(await list(frontDoor, 'alice')), ['app', 'm/ok', 'web']);
        assert.deepEqual(names(await list(frontDoor, 'bob')), ['app', 'm/ok']);
        assert.ok(asked <= 2 * 9, `asked ${asked} times`);
      });
    });
});

describe(
  'the list of two real registries',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registries: Registry[] = [];
    let frontDoor: FrontDoor;
    const held = [
      [
        ...['a', 'a/b', 'a-b', 'hub/old', 'hub-x/y', 'z'],
        ...Array.from({ length: 30 }, (_, i) => `team/app${i}`),
      ],
      ['a', 'a/b', 'a-b', ...Array.from({ length: 30 }, (_, i) => `library/x${i}`)],
    ] as const;
    before(async () => {
      registries = [await startRegistry(), await startRegistry()];
      for (const [i, { storageDir }] of registries.entries())
        for (const name of held[i] ?? [])
          for (const folder of ['_layers', '_manifests', '_uploads'])
            await mkdir(path.join(storageDir, 'docker/registry/v2/repositories', name, folder), {
              recursive: true,
            });
      frontDoor = await startFrontDoor({
        upstreamUrl: registries[0]?.url ?? assert.fail(),
        htpasswd,
        config: `routes: [{ name: hub, repositories: ["hub/**"], stripPrefix: hub, upstream: { url: "${registries[1]?.url}" } }]\n`,
        set: ['workers=2', 'limits.catalogPages=2'],
      });
    });
    after(async () => {
      await frontDoor.stop();
      for (const registry of registries) await registry.stop();
    });
    const all = sorted([
      ...held[0].filter((name) => !name.startsWith('hub/')),
      ...held[1].map((name) => `hub/${name}`),
    ]);

    for (const n of [1, 7, 35, 36, 67, 68, 1000])
      test(`in pages of ${n}, over all workers`, async () => {
        const pages: string[][] = [];
        let target: string | null = `/v2/_catalog?n=${n}`;
        while (target !== null && pages.length < 100) {
          const response = await exchange(frontDoor, requestHead('alice', `GET ${target}`));
          pages.push(names(response));
          target = next(response);
        }
        assert.deepEqual(pages.flat(), all);
        assert.equal(pages.length, Math.ceil(all.length / n));
      });

    test('refuses what upstream refuses', async () => {
      const response = await exchange(frontDoor, requestHead('alice', 'GET /v2/_catalog?n=1001'));
      assert.deepEqual([response.status, errorCode(response)], [400, 'PAGINATION_NUMBER_INVALID']);
    });
  },
);
