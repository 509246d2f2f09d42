import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findProblems, folder, loadText } from './load-text.ts';

/** A list of routes, each of a line that begins `  - { `: the first is line 2. */
const listOf = (...routes: string[]) => ['routes:', ...routes.map((route) => `  - { ${route} }`)].join('\n');
const at = (port: number) => `upstream: { url: "http://127.0.0.1:${port}" }`;
const hub = `name: hub, repositories: ["hub/**"], ${at(5001)}`;

describe('loadConfig: routes', () => {
  for (const [name, text, problem] of [
    [
      'a name in capitals',
      listOf(`name: Hub, repositories: ["hub/**"], ${at(5001)}`),
      'x.yml:2: routes.name: "Hub" is no name: lower-case letters, digits and "-", 32 at most',
    ],
    ['no name', listOf(`repositories: ["hub/**"], ${at(5001)}`), 'x.yml:2: routes.name: is missing'],
    [
      'no URL',
      listOf('name: hub, repositories: ["hub/**"], upstream: {}'),
      'x.yml:2: routes.upstream.url: is missing',
    ],
    [
      'no repositories',
      listOf(`name: hub, repositories: [], ${at(5001)}`),
      'x.yml:2: routes.repositories: must have at least one item',
    ],
    [
      'a pattern that is none',
      listOf(hub, `name: quay, repositories: ["quay/**", "Quay/**"], ${at(5002)}`),
      'x.yml:3: routes.repositories: "Quay/**" ',
    ],
    [
      'a pattern of users',
      listOf(`name: own, repositories: ["\${user}/**"], ${at(5001)}`),
      'x.yml:2: routes.repositories: "${user}/**" has a "$": a route is the same for all users',
    ],
    [
      'a prefix that is no name',
      listOf(`name: hub, repositories: ["hub/**"], stripPrefix: hub/, ${at(5001)}`),
      "x.yml:2: routes.stripPrefix: is no beginning of a repository's name, such as hub",
    ],
    [
      'a prefix that some names do not have',
      listOf(`name: hub, repositories: ["hub/**", "quay/**"], stripPrefix: hub, ${at(5001)}`),
      'x.yml:2: routes.repositories: "quay/**" must begin with "hub/", which stripPrefix takes off: write "hub/**"',
    ],
    [
      'a prefix that leaves nothing of a name',
      listOf(`name: hub, repositories: [hub], stripPrefix: hub, ${at(5001)}`),
      'x.yml:2: routes.repositories: "hub" must begin with "hub/", which stripPrefix takes off: write "hub/**"',
    ],
    [
      'a name twice',
      listOf(hub, `name: hub, repositories: ["quay/**"], ${at(5002)}`),
      'x.yml:3: routes.name: is the name of an earlier route, too',
    ],
    [
      'a namespace twice',
      listOf(
        `${hub}, namespaces: [docker.io]`,
        `name: quay, repositories: ["quay/**"], namespaces: [quay.io, docker.io], ${at(5002)}`,
      ),
      'x.yml:3: routes.namespaces: "docker.io" belongs to the route hub',
    ],
    [
      'a namespace that is a URL',
      listOf(`${hub}, namespaces: ["https://docker.io"]`),
      'x.yml:2: routes.namespaces: "https://docker.io" is no registry: write HOST or HOST:PORT in lower case, such as docker.io',
    ],
    [
      'a host twice',
      listOf(
        `${hub}, readOnly: true, hosts: [hub.example]`,
        `name: quay, repositories: ["quay/**"], readOnly: true, hosts: [hub.example], ${at(5002)}`,
      ),
      'x.yml:3: routes.hosts: "hub.example" belongs to the route hub',
    ],
    [
      'a host with a port',
      listOf(`${hub}, readOnly: true, hosts: ["hub.example:443"]`),
      'x.yml:2: routes.hosts: "hub.example:443" is no host name: write it in lower case, without port',
    ],
    [
      'a host without readOnly',
      listOf(`${hub}, hosts: [hub.example]`),
      'x.yml:2: routes.hosts: needs readOnly: true, since clients that use a mirror by its host only pull',
    ],
    [
      'a route that earlier ones take everything from',
      listOf(hub, `name: nginx, repositories: ["hub/library/nginx", "hub/a/**"], ${at(5002)}`),
      'x.yml:3: routes.repositories: can never match: earlier routes match all of it. Put this route before them',
    ],
    [
      'the registry of another route',
      listOf(hub, `name: quay, repositories: ["quay/**"], ${at(5001)}`),
      'x.yml:3: routes.upstream.url: is that of the route hub, too: one registry cannot have two names here',
    ],
    [
      'the registry of upstream, written in another way',
      `upstream: { url: "http://REGISTRY.example" }\n${listOf('name: hub, repositories: ["hub/**"], upstream: { url: "http://registry.example:80/" }')}`,
      'x.yml:3: routes.upstream.url: is that of upstream.url, too: one registry cannot have two names here',
    ],
    [
      'the storage of upstream, by another path',
      `upstream: { storage: a/registry }\n${listOf('name: hub, repositories: ["hub/**"], upstream: { url: "http://127.0.0.1:5001", storage: a/b/../registry }')}`,
      'x.yml:3: routes.upstream.storage: is that of upstream.storage, too: one registry cannot have two names here',
    ],
    [
      'a password without a name',
      listOf('name: hub, repositories: ["hub/**"], upstream: { url: "http://h", password: pa55w0rd }'),
      'x.yml:2: routes.upstream.password: needs upstream.username: set both or neither',
    ],
    [
      'a password that is no text',
      listOf(
        'name: hub, repositories: ["hub/**"], upstream: { url: "http://h", username: u, password: 55555 }',
      ),
      'x.yml:2: routes.upstream.password: the value is not text (quote it)',
    ],
    [
      'a duration without a unit',
      listOf('name: hub, repositories: ["hub/**"], upstream: { url: "http://h", readTimeout: 900 }'),
      'x.yml:2: routes.upstream.readTimeout: ',
    ],
    ['an unknown key', listOf(`${hub}, prefix: hub`), 'x.yml:2: routes: there is no such key: prefix'],
    [
      'a key with a slip',
      listOf(`${hub}, namespace: [docker.io], readonly: true`),
      'x.yml:2: routes: there is no such key: namespace, did you mean namespaces?; there is no such key: readonly, did you mean readOnly?',
    ],
    [
      'a key of its upstream with a slip',
      listOf('name: hub, repositories: ["hub/**"], upstream: { url: "http://h", storag: x }'),
      'x.yml:2: routes.upstream: there is no such key: storag, did you mean storage?',
    ],
    [
      'an upstream that is only the URL',
      listOf('name: hub, repositories: ["hub/**"], upstream: "http://h"'),
      'x.yml:2: routes.upstream: "http://h" is not a mapping: write { KEY: VALUE, … }',
    ],
  ] as const) {
    it(`refuses ${name}`, async () => {
      const [first = '', ...others] = await findProblems(text);
      assert.ok(first.startsWith(problem), first);
      assert.deepEqual(others, []);
      assert.doesNotMatch(first, /pa55w0rd|55555/);
    });
  }

  it('names the line of each part where it is written', async () => {
    const text = [
      'routes:',
      '  - name: hub',
      '    repositories:',
      '      - hub/**',
      '      - "Hub/**"',
      '    upstream:',
      '      url: ftp://h',
      '      probeInterval: 1d',
    ].join('\n');
    const lines = await findProblems(text);
    assert.deepEqual(
      lines.map((line) => line.split(': ', 2).join(': ')),
      [
        'x.yml:5: routes.repositories',
        'x.yml:7: routes.upstream.url',
        'x.yml:8: routes.upstream.probeInterval',
      ],
    );
  });

  it('does not repeat a password from the environment', async () => {
    const text = listOf(
      'name: hub, repositories: ["hub/**"], upstream: { url: "http://h", username: u, password: _env:HUB }',
    );
    const [problem = ''] = await findProblems(text, { env: { HUB: 'pa55\nw0rd' } });
    assert.match(problem, /^x\.yml:2: routes\.upstream\.password: /);
    assert.doesNotMatch(problem, /pa55|w0rd/);
    const { config } = await loadText(text, { env: { HUB: 'pa55w0rd' } });
    assert.equal(config.routes[0]?.upstream.password, 'pa55w0rd');
  });

  it('makes paths absolute, reads durations, and has the defaults of upstream', async () => {
    const { config } = await loadText(
      listOf(
        'name: hub, repositories: ["hub/**"], upstream: { url: "https://h:5443/", ca: ca.crt, storage: images, probeInterval: 1s }',
      ),
    );
    const [route] = config.routes;
    assert.deepEqual(route, {
      name: 'hub',
      repositories: ['hub/**'],
      stripPrefix: null,
      namespaces: [],
      hosts: [],
      readOnly: false,
      requiredForReady: false,
      upstream: {
        ...config.upstream,
        url: 'https://h:5443',
        ca: `${folder}/ca.crt`,
        storage: `${folder}/images`,
        probeInterval: 1000,
      },
    });
  });

  it('takes 64 routes and no more', async () => {
    const many = (count: number) =>
      listOf(
        ...Array.from(
          { length: count },
          (_, i) => `name: r${i}, repositories: ["r${i}/**"], ${at(5001 + i)}`,
        ),
      );
    assert.equal((await loadText(many(64))).config.routes.length, 64);
    const [problem] = await findProblems(many(65));
    assert.match(problem ?? '', /^x\.yml:\d+: routes: has more than 64 routes/);
  });
});
