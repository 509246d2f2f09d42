import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCertificate } from '../support/certificate-files.ts';
import { root, run, tidegate } from '../support/processes.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidegate-config-'));
});
after(() => rm(folder, { recursive: true }));

describe('config check', () => {
  it('says ok, the file, the flavor, and which of the paths exist', async () => {
    await copyCertificate(path.join(folder, 'there'), ['localhost']);
    await writeFile(path.join(folder, 'a.yml'), 'common: { tls: { cert: there/server.crt } }\nprod: {}');
    const { code, stdout, stderr } = await tidegate(
      ['config', 'check', '--config', 'a.yml', '--flavor', 'prod'],
      {
        cwd: folder,
      },
    );
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(stdout.split('\n'), [
      'ok',
      `file: ${folder}/a.yml`,
      'flavor: prod',
      `tls.cert: ${folder}/there/server.crt (exists)`,
      `tls.key: ${folder}/certs/server.key (missing)`,
      `auth.htpasswd: ${folder}/config/htpasswd (missing)`,
      `auth.machineTokens: ${folder}/config/tokens.yml (missing)`,
      `state.dir: ${folder}/var/state (missing)`,
      '',
    ]);
  });

  it('reads the files that it names, says what of them is not used, and exits with 1 for those that are no use', async () => {
    const certs = path.join(folder, 'own');
    await copyCertificate(certs, ['localhost']);
    const [ca, key] = await Promise.all(
      ['ca.crt', 'server.key'].map((name) => readFile(path.join(certs, name), 'latin1')),
    );
    await writeFile(path.join(folder, 'cas.pem'), `\xef\xbb\xbf${ca ?? ''}${key ?? ''}`, 'latin1');
    await writeFile(path.join(folder, 'users'), 'alice:plain\n');
    const sound = [
      ...['--set', 'tls.cert=own/server.crt', '--set', 'tls.key=own/server.key'],
      ...['--set', 'tls.clientCa=cas.pem', '--set', 'auth.htpasswd=users'],
    ];
    const check = (...set: string[]) => tidegate(['config', 'check', ...sound, ...set], { cwd: folder });
    const well = await check();
    assert.equal(well.code, 0, well.stderr);
    assert.match(well.stderr, /^warning: .*cas\.pem: not used: line \d+, a private key\.$/m);
    assert.match(well.stderr, /^warning: The htpasswd file .*users has lines that never match: line 1: /m);
    assert.match(well.stdout, /^ok$/m);

    await writeFile(path.join(folder, 'utf16.pem'), Buffer.from(`\uFEFF${ca ?? ''}`, 'utf16le'));
    await writeFile(path.join(folder, 'short.key'), 'short');
    const ill = await check(
      ...['--set', 'upstream.ca=own/server.key', '--set', 'alerts.ca=utf16.pem'],
      ...['--set', 'cache.redis.ca=users', '--set', 'auth.tokenKeys=short.key'],
      ...['--set', 'tls.key=own/ca.key', '--set', 'auth.htpasswd=own'],
    );
    assert.deepEqual([ill.code, ill.stdout], [1, '']);
    const problems = ill.stderr.split('\n').filter((line) => !line.startsWith('warning: '));
    for (const problem of [
      /own\/ca\.key is not the key of the certificate/,
      /own\/server\.key holds no certificate in PEM form \(what it holds: line 1, a private key\): set upstream\.ca/,
      /users holds no certificate in PEM form \(it has no BEGIN line\): set cache\.redis\.ca/,
      /utf16\.pem holds no certificate in PEM form \(it is text in UTF-16\): convert it: iconv/,
      /short\.key holds 5 bytes/,
      /The htpasswd file .*own cannot be used: it is not a regular file/,
    ])
      assert.ok(
        problems.some((line) => problem.test(line)),
        `${problem.source} in ${ill.stderr}`,
      );
    assert.equal(problems.length, 7); // and the end of the last line
  });

  it('reports all problems on stderr and exits with 1; so does serve', async () => {
    await writeFile(path.join(folder, 'b.yml'), 'listen: { prot: 1 }\nlog: { level: loud }');
    const env = { TIDEGATE_LISTEN_PORT: 'x' };
    for (const command of [['config', 'check'], ['config', 'show'], ['serve']]) {
      const { code, stdout, stderr } = await tidegate([...command, '--config', 'b.yml', '--set', 'a.b=1'], {
        cwd: folder,
        env,
      });
      assert.deepEqual([code, stdout], [1, ''], command.join(' '));
      assert.deepEqual(
        stderr
          .trimEnd()
          .split('\n')
          .map((line) => line.split(': ', 2).join(': ')),
        ['b.yml:1: listen.prot', 'b.yml:2: log.level', '--set: a.b', 'TIDEGATE_LISTEN_PORT: listen.port'],
      );
    }
  });

  it('warns of a secret in the command line, without repeating it', async () => {
    const set = ['upstream.username=door', 'upstream.password=pa55w0rd'].flatMap((each) => ['--set', each]);
    const { code, stderr } = await tidegate(['config', 'check', ...set], { cwd: folder });
    assert.equal(code, 0);
    assert.match(stderr, /^warning: --set: upstream\.password: .*TIDEGATE_UPSTREAM_PASSWORD[^\n]*\n$/);
    assert.doesNotMatch(stderr, /pa55w0rd/);
    const env = { TIDEGATE_UPSTREAM_PASSWORD: 'pa55w0rd', TIDEGATE_UPSTREAM_USERNAME: 'door' };
    const quiet = await tidegate(['config', 'check'], { cwd: folder, env });
    assert.deepEqual([quiet.code, quiet.stderr], [0, '']);
  });

  it('exits with 2 on wrong usage and with 0 on --help', async () => {
    for (const args of [['--nothing'], ['--set', 'listen.port'], ['--config'], ['extra']]) {
      assert.equal((await tidegate(['config', 'check', ...args], { cwd: folder })).code, 2, args.join(' '));
    }
    const { code, stdout } = await tidegate(['config', 'check', '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /--config <file>[^]*--flavor <name>[^]*--set <key=value>/);
  });
});

describe('config show', () => {
  it('prints YAML that loads again to the same, with origins and without secrets', async () => {
    await writeFile(
      path.join(folder, 'c.yml'),
      'upstream:\n  username: u\n  password: _env:PW\ntls: { cert: c.crt }\n',
    );
    const args = ['config', 'show', '--set', 'limits.idleTimeout=5m'];
    const env = { PW: 'hunter2', TIDEGATE_AUTH_OPEN: '/a,/b' };
    const first = await tidegate([...args, '--config', 'c.yml'], { cwd: folder, env });
    assert.equal(first.code, 0, first.stderr);
    const shown = first.stdout;
    assert.doesNotMatch(shown, /hunter2/);
    assert.match(shown, /^ {2}username: u # c\.yml:2$/m);
    assert.match(shown, /^ {2}password: "\*{8}" # c\.yml:3$/m);
    assert.match(shown, /^ {2}open: \[ \/a, \/b \] # TIDEGATE_AUTH_OPEN$/m);
    assert.match(shown, /^ {2}idleTimeout: 5m # --set$/m);
    assert.match(shown, /^ {2}port: 443$/m);
    await writeFile(path.join(folder, 'd.yml'), shown);
    const second = await tidegate(['config', 'show', '--config', path.join(folder, 'd.yml')], { cwd: '/' });
    const withoutOrigins = (text: string) => text.replace(/ # .*$/gm, '');
    assert.equal(withoutOrigins(second.stdout), withoutOrigins(shown));
  });
});

describe('config show and config check of routes', () => {
  it('mask secrets, make paths absolute, and show durations as they were written', async () => {
    await writeFile(
      path.join(folder, 'routes.yml'),
      [
        'routes:',
        '  - name: hub',
        '    repositories: ["hub/**"]',
        '    upstream:',
        '      url: http://127.0.0.1:5001',
        '      username: puller',
        '      password: _env:HUB_PW',
        '      ca: ca/hub.crt',
        '      storage: images',
        '      probeInterval: 2500ms',
      ].join('\n'),
    );
    const env = { HUB_PW: 'hunter2' };
    const show = ['config', 'show', '--config', 'routes.yml'];
    const { code, stdout, stderr } = await tidegate(show, { cwd: folder, env });
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout + stderr, /hunter2/);
    const [, routes = ''] = /^routes:([^]*?)^\w/m.exec(stdout) ?? [];
    for (const shown of [
      /password: "\*{8}"/,
      /ca: .*\/ca\/hub\.crt/,
      /storage: .*\/images/,
      /probeInterval: 2500ms/,
      /username: puller/,
    ])
      assert.match(routes, shown);
    assert.ok(routes.includes(`${folder}/ca/hub.crt`), routes);
    const check = await tidegate(['config', 'check', '--config', 'routes.yml'], { cwd: folder, env });
    assert.equal(check.code, 0, check.stderr);
    assert.doesNotMatch(check.stdout + check.stderr, /hunter2/);
  });

  it('warn of a password of a route in the command line, without repeating it', async () => {
    const route = {
      name: 'hub',
      repositories: ['hub/**'],
      upstream: { url: 'http://127.0.0.1:5001', username: 'u', password: 'pa55w0rd' },
    };
    const set = ['--set', `routes=${JSON.stringify([route])}`];
    const { code, stderr } = await tidegate(['config', 'check', ...set], { cwd: folder });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^warning: --set: routes: /m);
    assert.doesNotMatch(stderr, /pa55w0rd/);
  });
});

describe('generate --check', () => {
  it('finds the committed schema and reference fresh', async () => {
    const { code, stderr } = await run(process.execPath, [`${root}dist/config/docs/generate.js`, '--check'], {
      cwd: folder,
    });
    assert.deepEqual([code, stderr], [0, '']);
  });
});
