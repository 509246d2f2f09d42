import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '../../../src/config/load/load.ts';
import { chooseWorkers } from '../../../src/config/schema/types/automatic.ts';
import { findProblems, folder, loadText } from './load-text.ts';

describe('loadConfig: sources', () => {
  it('gives the defaults without file, environment and flags', async () => {
    const loaded = await loadConfig({
      configPath: undefined,
      flavor: undefined,
      set: [],
      env: {},
      cwd: folder,
    });
    assert.deepEqual([loaded.configPath, loaded.flavor, loaded.baseDir], [null, null, folder]);
    const { config } = loaded;
    assert.deepEqual(config.listen, {
      host: '::',
      port: 443,
      httpPort: null,
      publicPort: null,
      trustedProxies: [],
      proxyProtocol: 'off',
    });
    assert.equal(config.tls.cert, path.join(folder, 'certs/server.crt'));
    assert.equal(config.upstream.connectTimeout, 5000);
    assert.equal(config.limits.headerBytes, 32_768);
    assert.ok(config.auth.passwordThreads >= 1);
  });

  it('lets environment win over the file, and flags over both', async () => {
    const text = 'listen: { port: 1 }\nlog: { level: warn }\nauth: { realm: A }';
    const env = { TIDEGATE_LISTEN_PORT: '2', TIDEGATE_LOG_LEVEL: 'debug' };
    const { config, settings } = await loadText(text, { env, set: ['listen.port=3', 'listen.port=4'] });
    assert.deepEqual([config.listen.port, config.log.level, config.auth.realm], [4, 'debug', 'A']);
    assert.equal(settings.get('log.level')?.place, 'TIDEGATE_LOG_LEVEL');
    assert.equal(settings.get('auth.realm')?.place, 'x.yml:3');
  });

  it('reads the text form of lists, numbers, null and words', async () => {
    const env = {
      TIDEGATE_AUTH_OPEN: '/a, /b',
      TIDEGATE_AUTH_CHALLENGE_AGENTS: '',
      TIDEGATE_TLS_CLIENT_CA: '',
      TIDEGATE_AUTH_PASSWORD_THREADS: '3',
      TIDEGATE_SHUTDOWN_TIMEOUT: '0',
      TIDEGATE_LOG_AUDIT: 'false',
      TIDEGATE_LOG_ACCESS_FILE: 'log/access.log',
    };
    const { config } = await loadText('tls: { clientCa: ca.pem }', { env });
    assert.deepEqual(config.auth.open, ['/a', '/b']);
    assert.deepEqual(config.auth.challengeAgents, []);
    assert.equal(config.tls.clientCa, null);
    assert.equal(config.auth.passwordThreads, 3);
    assert.equal(config.log.audit, false);
    assert.match(config.log.accessFile ?? '', /^\/.*\/log\/access\.log$/);
    assert.equal(config.shutdown.timeout, 0);
  });

  it('takes config/tidegate.yml by itself, and the folder above it as the base', async () => {
    await mkdir(path.join(folder, 'config'));
    const file = path.join(folder, 'config', 'tidegate.yml');
    await writeFile(file, 'tls: { cert: a.crt, key: /k }');
    const nothing = { flavor: undefined, set: [], env: {} };
    const byDefault = await loadConfig({ ...nothing, configPath: undefined, cwd: folder });
    const named = await loadConfig({ ...nothing, configPath: file, cwd: '/' });
    for (const { config, configPath, baseDir } of [byDefault, named]) {
      assert.deepEqual([configPath, baseDir], [file, folder]);
      assert.deepEqual([config.tls.cert, config.tls.key], [path.join(folder, 'a.crt'), '/k']);
    }
  });

  it('takes the working directory as the base of a file elsewhere', async () => {
    const { config } = await loadText('tls: { cert: a.crt }', {
      configPath: path.join(folder, 'x.yml'),
      cwd: '/',
    });
    assert.equal(config.tls.cert, '/a.crt');
  });

  it('takes an empty file and empty sections as defaults', async () => {
    for (const text of ['', '# nothing\n', 'listen:\n  # port: 1\n', '\uFEFFlisten: {}']) {
      assert.equal((await loadText(text)).config.listen.port, 443);
    }
  });
});

describe('loadConfig: _env', () => {
  for (const [written, env, url] of [
    ['_env:U', { U: 'http://a:1' }, 'http://a:1'],
    ['_env:U:http://b:2', {}, 'http://b:2'],
    ['_env:U:http://b:2', { U: 'http://a:1/' }, 'http://a:1'],
  ] as const) {
    it(`${written} with ${JSON.stringify(env)}`, async () => {
      assert.equal((await loadText(`upstream: { url: "${written}" }`, { env })).config.upstream.url, url);
    });
  }

  it('fills numbers, lists, items of lists, and null', async () => {
    const text =
      'listen: { port: _env:P:8443, trustedProxies: [_env:A, 10.0.0.0/8] }\n' +
      'auth: { open: "_env:O:/a,/b" }\ntls: { clientCa: _env:CA }\nupstream: { ca: "_env:CA:" }';
    const { config } = await loadText(text, { env: { A: '::1', P: '0' } });
    assert.deepEqual([config.listen.port, config.listen.trustedProxies], [0, ['::1', '10.0.0.0/8']]);
    assert.deepEqual(config.auth.open, ['/a', '/b']);
    assert.deepEqual([config.tls.clientCa, config.upstream.ca], [null, null]);
  });

  it('says which variable is not set, and refuses a reference without a name', async () => {
    assert.deepEqual(
      (
        await findProblems('listen:\n  port: _env:P\n  trustedProxies:\n    - _env:Q\nlog:\n  level: "_env:"')
      ).map((line) => line.split(';')[0]),
      [
        'x.yml:2: listen.port: the environment variable P is not set',
        'x.yml:4: listen.trustedProxies: the environment variable Q is not set',
        'x.yml:6: log.level: begins with _env: but no variable follows: write _env:NAME or _env:NAME:default',
      ],
    );
  });
});

describe('loadConfig: a key outside the sections', () => {
  const workersOf = async (...sources: Parameters<typeof loadText>) =>
    (await loadText(...sources)).config.workers;

  it('has a default, and is set by file, environment and flag', async () => {
    assert.equal(await workersOf('log: {}'), chooseWorkers());
    assert.equal(await workersOf('workers: auto'), chooseWorkers());
    assert.deepEqual(
      [1, 2, 3, 4, 64, 65].map((cores) => chooseWorkers(cores)),
      [1, 1, 3, 4, 64, 64],
    );
    assert.equal(await workersOf('workers: 3'), 3);
    assert.equal(await workersOf('workers: _env:N:5'), 5);
    const env = { TIDEGATE_WORKERS: '4' };
    assert.equal(await workersOf('workers: 3', { env }), 4);
    assert.equal(await workersOf('workers: 3', { env, set: ['workers=6'] }), 6);
  });

  it('can stand in flavors, and not beside them', async () => {
    const text = 'common: { workers: 3 }\ndev: { workers: 4 }\nprod: {}';
    assert.equal(await workersOf(text, { flavor: 'dev' }), 4);
    assert.equal(await workersOf(text, { flavor: 'prod' }), 3);
    assert.deepEqual(await findProblems('dev: { log: {} }\nworkers: 3'), [
      'x.yml:2: the key workers stands beside the flavor dev: move it into a flavor, such as common',
    ]);
  });

  it('is found where it is misspelt or no value', async () => {
    assert.match((await findProblems('worker: 3'))[0] ?? '', /^x\.yml:1: worker: .*did you mean workers\?/);
    assert.match((await findProblems('listen: { workers: 3 }'))[0] ?? '', /did you mean workers\?/);
    assert.match((await findProblems('workers: { n: 3 }'))[0] ?? '', /must be a value, not a mapping/);
  });
});

describe('loadConfig: flavors', () => {
  const text = [
    'common: &common',
    '  upstream: { url: http://common, readTimeout: 1m }',
    '  auth: { open: [/a, /b] }',
    'dev:',
    '  upstream: { url: http://dev }',
    'prod: &prod',
    '  <<: *common',
    '  auth: { open: [/c] }',
    'staging:',
    '  <<: [*prod, *common]',
    '  log: { level: warn }',
    'empty:',
  ].join('\n');

  for (const [flavor, env, chosen, url, open, level] of [
    [undefined, {}, 'dev', 'http://dev', ['/a', '/b'], 'info'],
    ['prod', { TIDEGATE_FLAVOR: 'dev' }, 'prod', 'http://common', ['/c'], 'info'],
    [
      undefined,
      { TIDEGATE_FLAVOR: 'staging', SETTINGS_FLAVOR: 'dev' },
      'staging',
      'http://common',
      ['/c'],
      'warn',
    ],
    [undefined, { TIDEGATE_FLAVOR: '', SETTINGS_FLAVOR: 'prod' }, 'prod', 'http://common', ['/c'], 'info'],
    ['common', {}, 'common', 'http://common', ['/a', '/b'], 'info'],
    ['empty', {}, 'empty', 'http://common', ['/a', '/b'], 'info'],
  ] as const) {
    it(`--flavor ${flavor ?? '(none)'}, ${JSON.stringify(env)} → ${chosen}`, async () => {
      const loaded = await loadText(text, { flavor, env });
      const { upstream, auth, log } = loaded.config;
      assert.deepEqual(
        [loaded.flavor, upstream.url, upstream.readTimeout, auth.open, log.level],
        [chosen, url, 60_000, open, level],
      );
    });
  }

  for (const [title, document, flavor, message] of [
    [
      'an unknown flavor',
      text,
      'prd',
      /no flavor "prd" \(chosen by --flavor\), did you mean prod\?; the file has: common, dev, prod, staging, empty/,
    ],
    [
      'a flavor that is no mapping',
      'common: {}\ndev: 5',
      undefined,
      /x\.yml:2: the flavor dev must be a mapping/,
    ],
    [
      'flavors beside sections',
      'dev: { log: {} }\nlog: {}',
      undefined,
      /x\.yml:2: the section log stands beside the flavor dev/,
    ],
    ['--flavor with a flat file', 'log: {}', 'dev', /--flavor dev is given, but the file has no flavors/],
    [
      'an alias that is no mapping',
      'common: { log: &l [1] }\ndev: { <<: *l }',
      undefined,
      /x\.yml:2: << needs the alias of a mapping/,
    ],
  ] as const) {
    it(`refuses ${title}`, async () => {
      assert.match((await findProblems(document, { flavor })).join('\n'), message);
    });
  }

  it('refuses --flavor without a file, and takes no notice of the environment for a flat one', async () => {
    const sources = {
      configPath: undefined,
      flavor: 'dev',
      set: [],
      env: {},
      cwd: path.join(folder, 'config'),
    };
    await assert.rejects(loadConfig(sources), { name: 'OperatorError', message: /no configuration file/ });
    const { flavor } = await loadText('log: {}', { env: { TIDEGATE_FLAVOR: 'x', SETTINGS_FLAVOR: 'y' } });
    assert.equal(flavor, null);
  });
});
