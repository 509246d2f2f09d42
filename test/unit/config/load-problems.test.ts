import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findProblems, folder, loadText } from './load-text.ts';

describe('loadConfig: problems', () => {
  it('reports all at once, each with its place and what is allowed', async () => {
    const text = [
      'listen:',
      '  prot: 1',
      '  port: "443"',
      'tls:',
      '  minVersion: TLSv1.1',
      'statistics: {}',
      'upstream:',
      '  password: 12345',
      '  readTimeout: 900',
      '  readTimeout: 1s',
      '  connectTimeout: 5x',
      'log: [info]',
    ].join('\n');
    const env = { TIDEGATE_AUTH_REALM: 'a"b', TIDEGATE_WHATSOEVER: '1' };
    assert.deepEqual(await findProblems(text, { env, set: ['limits.headerBytes=1', 'x.y=1', 'log'] }), [
      'x.yml:2: listen.prot: there is no such key, did you mean listen.port?; allowed: host, port, httpPort, publicPort, trustedProxies, proxyProtocol',
      'x.yml:3: listen.port: "443" is text: write the number without quotes; allowed: a whole number from 0 to 65535',
      'x.yml:5: tls.minVersion: "TLSv1.1" is not allowed; allowed: TLSv1.2, TLSv1.3',
      'x.yml:6: statistics: there is no such section; allowed: listen, tls, upstream, routes, auth, cors, groups, policy, immutableTags, cache, clean, console, workers, limits, shutdown, admin, alerts, log, state',
      'x.yml:8: upstream.password: the value is not text: quote it; allowed: text without control characters, or null',
      'x.yml:9: upstream.readTimeout: 900 has no unit; allowed: a duration from 1ms to 24d (units ms, s, m, h, d)',
      'x.yml:10: readTimeout is written twice, first in line 9',
      'x.yml:11: upstream.connectTimeout: the unit x is unknown: use one of ms, s, m, h, d; allowed: a duration from 1ms to 24d (units ms, s, m, h, d)',
      'x.yml:12: log: must be a mapping of keys',
      'TIDEGATE_WHATSOEVER: no key has this environment variable',
      '--set: x.y: there is no such key',
      '--set: log: has no value: write KEY=VALUE',
      'TIDEGATE_AUTH_REALM: auth.realm: "a\\"b" is not allowed; allowed: 1 to 128 printable ASCII characters without quote and backslash',
      '--set: limits.headerBytes: 1 has no unit: add one of B, KiB, MiB, GiB; allowed: a size from 1KiB to 1MiB (units B, KiB, MiB, GiB)',
    ]);
  });

  it('names the line where a merged or aliased value is written', async () => {
    const text =
      'common:\n  log: &l\n    level: loud\ndev:\n  log: *l\nprod:\n  log:\n    <<: *l\n    format: xml';
    assert.match((await findProblems(text))[0] ?? '', /^x\.yml:3: log\.level/);
    const lines = await findProblems(text, { flavor: 'prod' });
    assert.deepEqual(
      lines.map((line) => line.split(': ')[0]),
      ['x.yml:3', 'x.yml:9'],
    );
  });

  for (const [key, values] of Object.entries({
    'listen.host': ['[::1]', 'a b', '', '*', 'a/b'],
    workers: ['0', '65', '1.5', 'many', ''],
    'log.audit': ['yes', '1', 'TRUE', 'null', ''],
    'listen.port': ['-1', '65536', '1.5', 'https', '0x10'],
    'listen.trustedProxies': [
      '10.0.0.0/33',
      'host',
      '::/129',
      '10.0.0.0/',
      'fe80::1%eth0',
      '1.2.3.4,',
      '10.0.0.0/08',
    ],
    'tls.cert': ['', ' ', 'a\nb', 'a\0b'],
    'upstream.url': [
      'ftp://h',
      'h:5000',
      'http://',
      'http:h',
      'http:\\\\h',
      'http://h/v2',
      'http://h//',
      'http://h?x',
      'http://h/#f',
      'http://h:',
      'http://h:65536',
      'http://h h',
      ' http://h',
      'http://u@h',
      'http://u:p@h',
      'http://[::1',
      'http:///h',
    ],
    'auth.realm': ['', 'a\\b', 'a\nb', 'ü', 'x'.repeat(129)],
    'auth.open': [
      'a',
      '/v2',
      '/v2/',
      '/V2/',
      '/v2/_catalog',
      '/%76%32/',
      '/a%2e',
      '//a',
      '/a//b',
      '/a/../v2/',
      '/.',
      '/a/..',
      '/a?b',
      '/a#b',
      '/a b',
      '/a\\b',
      '/a\nb',
      '/a,',
      '/ä',
    ],
    'auth.challengeAgents': ['a,,b', 'ä', 'x'.repeat(201)],
    'auth.openAgents': ['a,,b', 'ä', 'x'.repeat(201)],
    'auth.passwordThreads': ['0', '65', 'Auto', ''],
    'auth.maxBcryptCost': ['3', '32'],
    'auth.credentialTtl': ['0', '999ms', '25d'],
    'limits.idleTimeout': ['0', '0s', '30d', '5'],
    'limits.refusedBodyBytes': ['257KiB', '1MiB', '1'],
    'log.level': ['', 'INFO', 'verbose'],
  })) {
    for (const value of values) {
      it(`refuses ${key} ${JSON.stringify(value.slice(0, 20))}`, async () => {
        const lines = await findProblems('', { set: [`${key}=${value}`] });
        assert.ok(lines[0]?.startsWith(`--set: ${key}: `), lines[0]);
      });
    }
  }

  for (const [key, value] of Object.entries({
    'listen.host': 'localhost',
    'listen.trustedProxies': '10.0.0.0/8,192.0.2.7,fd00::/8,::1',
    'upstream.url': 'HTTPS://Registry.example:5443/',
    'auth.realm': "Bob's registry (dev) ~",
    'auth.open': '/healthz,/v2x,/,/a/.well-known/b',
    'auth.challengeAgents': 'my puller/1.0',
    'auth.openAgents': 'my probe/1.0,Caddy',
    'limits.refusedBodyBytes': '0',
  })) {
    it(`accepts ${key} ${value}`, async () => {
      await loadText('', { set: [`${key}=${value}`] });
    });
  }

  it('wants upstream name and password together', async () => {
    for (const [name, other] of [
      ['username', 'password'],
      ['password', 'username'],
    ] as const) {
      const lines = await findProblems(`upstream:\n  ${name}: x`);
      assert.ok(
        lines[0]?.startsWith(`x.yml:2: upstream.${name}: needs upstream.${other}: set both or neither`),
        lines[0],
      );
    }
    await loadText('upstream: { username: x, password: "12345" }');
  });

  it('a PROXY protocol that anybody may speak', async () => {
    const [problem] = await findProblems('listen:\n  proxyProtocol: on');
    assert.ok(problem?.startsWith('x.yml:2: listen.proxyProtocol: needs listen.trustedProxies'), problem);
    await loadText('listen: { proxyProtocol: on, trustedProxies: [10.0.0.0/8] }');
    await loadText('listen: { proxyProtocol: off }');
  });

  it('never repeats a password', async () => {
    const secret = 'hunter2';
    for (const text of [
      `upstream: { url: "http://u:${secret}@h" }`,
      `upstream: { password: ["${secret}"] }`,
      `upstream: { username: u, password: "${secret}\\n" }`,
      `upstream:\n  password: "${secret}\n  username: [`,
      `tls: { key: "-----BEGIN PRIVATE KEY-----\\n${secret}" }`,
    ]) {
      assert.doesNotMatch((await findProblems(text)).join('\n'), new RegExp(secret));
    }
  });

  for (const [title, text, message] of [
    ['a syntax error', 'log:\n  level: "info\n', /^x\.yml:3: this is not valid YAML: /],
    ['a list', '- a', /^x\.yml:1: the document must be a mapping of sections, not a list$/],
    ['a word', 'hello', /not a scalar$/],
    ['two documents', 'log: {}\n---\nlog: {}', /^x\.yml:2: a second document begins here/],
    ['an unknown tag', 'log: !!js/function x', /^x\.yml:1: this is not valid YAML: Unresolved tag/],
    ['an unknown alias', 'log: *l', /no anchor before it|not valid YAML/],
    ['a mapping in itself', 'log: &l\n  level: *l', /^x\.yml:2: the alias \*l has no anchor before it/],
    ['a number as a key', '443: {}', /^x\.yml:1: a key must be plain text$/],
    [
      '__proto__',
      'listen: {}\n__proto__: { listen: {} }',
      /^x\.yml:2: __proto__ must not be the name of a key$/,
    ],
    ['constructor', 'log:\n  constructor: 1', /^x\.yml:2: constructor must not be the name of a key$/],
    ['nested brackets', '['.repeat(100_000), /^x\.yml:1: /],
    ['deep nesting', `log: ${'['.repeat(40)}${']'.repeat(40)}`, /nested deeper than 32/],
    [
      'aliases of aliases',
      [
        'a0: &a0 [x,x,x,x,x,x,x,x,x]',
        ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`),
      ].join('\n'),
      /unfolds to more than 100000 values/,
    ],
    ['bytes that are not UTF-8', Uint8Array.of(0xff, 0xfe, 0), /not UTF-8/],
    ['more than 1 MiB', '#'.repeat(1024 ** 2 + 1), /larger than 1 MiB/],
  ] as const) {
    it(`refuses ${title}`, async () => {
      assert.match((await findProblems(text)).join('\n'), message);
    });
  }

  it('says that a named file is missing or a folder', async () => {
    await assert.rejects(loadText('', { configPath: 'no.yml' }), {
      name: 'OperatorError',
      message: /no\.yml does not exist/,
    });
    await assert.rejects(loadText('', { configPath: folder }), {
      name: 'OperatorError',
      message: /can't be read \(EISDIR\)/,
    });
  });
});
