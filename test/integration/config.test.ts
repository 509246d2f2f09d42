import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root, run, tidegate } from '../support/processes.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidegate-config-'));
});
after(() => rm(folder, { recursive: true }));

describe('config check', () => {
  it('says ok, the file, the flavor, and which of the paths exist', async () => {
    await writeFile(path.join(folder, 'a.yml'), 'common: { tls: { cert: a.yml } }\nprod: {}');
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
      `tls.cert: ${folder}/a.yml (exists)`,
      `tls.key: ${folder}/certs/server.key (missing)`,
      `auth.htpasswd: ${folder}/config/htpasswd (missing)`,
      '',
    ]);
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

describe('generate --check', () => {
  it('finds the committed schema and reference fresh', async () => {
    const { code, stderr } = await run(process.execPath, [`${root}dist/config/generate.js`, '--check'], {
      cwd: folder,
    });
    assert.deepEqual([code, stderr], [0, '']);
  });
});
