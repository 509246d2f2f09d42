import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { root, run, stop } from '../../support/processes.ts';
import { makeRelease } from '../../support/releases.ts';
import { answerOk, startUpstream } from '../../support/scripted-upstream.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { version: string };

describe('a release', { skip: unlessInstalled('npm', 'curl'), timeout: 550_000 }, () => {
  let dir: string;
  let elsewhere: string;
  const tidegate = (...args: string[]) =>
    run(path.join(dir, 'prefix/bin/tidegate'), args, { cwd: elsewhere, env: { TIDEGATE_FLAVOR: '' } });
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-release-test-'));
    elsewhere = path.join(dir, 'else/where');
    await mkdir(elsewhere, { recursive: true });
    const file = await makeRelease(root, path.join(dir, 'release'));
    assert.equal(path.basename(file), `tidegate-${version}.tgz`);
    await install(file, path.join(dir, 'prefix'));
  });
  after(() => rm(dir, { recursive: true }));
  const install = async (file: string, prefix: string) => {
    const options = ['--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund'];
    const installed = await run('npm', ['install', '--global', ...options, file], {
      cwd: elsewhere,
      timeoutMs: 100_000,
    });
    assert.equal(installed.code, 0, installed.stderr);
  };

  it('is a command in any folder', async () => {
    const help = await tidegate('--help');
    assert.deepEqual([help.code, help.stderr], [0, '']);
    assert.match(help.stdout, /^Usage: tidegate /);
    assert.equal((await tidegate('--version')).stdout, `${version}\n`);
    const modules = path.join(dir, 'prefix/lib/node_modules/tidegate/node_modules');
    assert.equal((await run('ls', [path.join(modules, 'typescript')])).code, 2, 'nothing of development');
  });

  it('is no different when `npm pack` alone made the package', async () => {
    // Without prepack, which compiles: other tests read dist/ meanwhile.
    const options = ['--ignore-scripts', '--pack-destination', dir];
    const packed = await run('npm', ['pack', ...options], { cwd: root });
    assert.equal(packed.code, 0, packed.stderr);
    const prefix = path.join(dir, 'packed');
    await install(path.join(dir, `tidegate-${version}.tgz`), prefix);
    const printed = await run(path.join(prefix, 'bin/tidegate'), ['--version'], { cwd: elsewhere });
    assert.deepEqual([printed.stdout, printed.stderr], [`${version}\n`, '']);
  });

  it('makes a certificate, and serves with a configuration that lies elsewhere', async (t) => {
    const made = await tidegate('cert', 'create', '--host', 'localhost', '--ip', '127.0.0.1');
    assert.equal(made.code, 0, made.stderr);
    const upstream = await startUpstream({ script: answerOk });
    const file = path.join(elsewhere, 'own.yml');
    await writeFile(path.join(elsewhere, 'users'), '');
    await writeFile(
      file,
      [
        'listen: { host: 127.0.0.1, port: 0 }',
        'admin: { port: null }',
        'tls: { cert: certs/server.crt, key: certs/server.key }',
        'auth: { htpasswd: users }',
        `upstream: { url: "${upstream.url}" }`,
        'log: { format: json }',
      ].join('\n'),
    );
    const checked = await tidegate('config', 'check', '--config', 'own.yml');
    assert.equal(checked.code, 0, checked.stderr);
    const server = spawn(path.join(dir, 'prefix/bin/tidegate'), ['serve', '--config', file], {
      cwd: elsewhere,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => Promise.all([stop(server), upstream.close()]));
    let port = 0;
    for await (const line of createInterface({ input: server.stdout })) {
      const { msg, port: found } = JSON.parse(line) as { msg: string; port?: number };
      if (msg !== 'listening') continue;
      port = found ?? 0;
      break;
    }
    server.stdout.resume();
    const url = `https://127.0.0.1:${port}/v2/_catalog`;
    const trust = ['--silent', '--noproxy', '*', '--cacert', path.join(elsewhere, 'certs/ca.crt')];
    const asked = await run('curl', [...trust, '--output', '/dev/null', '--write-out', '%{http_code}', url]);
    assert.equal(asked.stdout, '401');
  });
});

describe('the version', () => {
  it('is the same wherever it is named, and the change log has its date', async () => {
    const read = (name: string) => readFile(`${root}${name}`, 'utf8');
    const lock = JSON.parse(await read('package-lock.json')) as { version: string; packages: { '': object } };
    assert.equal(lock.version, version);
    assert.match(await read('CHANGELOG.md'), new RegExp(`^## \\[${version}\\] - \\d{4}-\\d\\d-\\d\\d$`, 'm'));
    assert.match(await read('deploy/Dockerfile'), new RegExp(`image\\.version="${version}"`));
    const kustomization = await read('deploy/kubernetes/kustomization.yaml');
    assert.match(kustomization, new RegExp(`newTag: ${version}$`, 'm'));
    assert.match(kustomization, new RegExp(`tidegate:${version} `));
  });
});
