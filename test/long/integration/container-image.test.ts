import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { root, run, stop } from '../../support/processes.ts';
import { unlessInstalled, unlessPossible } from '../../support/requirement.ts';

type Inspected = {
  Docker: {
    config: {
      User: string;
      Env: string[];
      Entrypoint: string[];
      Cmd: string[];
      WorkingDir: string;
      Healthcheck?: { Test: string[] };
      StopSignal: string;
    };
  };
};

const skip =
  unlessInstalled('buildah', 'npm', 'ldd', 'unshare', 'nsenter', 'chroot', 'ip') ||
  unlessPossible(
    process.getuid?.() === 0 && existsSync('/etc/ssl/certs/ca-certificates.crt'),
    "root, and the system's list of CAs (package ca-certificates)",
  );

/** Really built and run, but for its base: no image can be had here, so this machine's Node stands in for it. */
describe('the image of deploy/Dockerfile', { skip, timeout: 550_000 }, () => {
  let dir: string;
  let rootFolder: string;
  let config: Inspected['Docker']['config'];
  const buildah = async (...args: string[]) => {
    const storage = ['--root', `${dir}/root`, '--runroot', `${dir}/run`, '--storage-driver', 'vfs'];
    const done = await run('buildah', [...storage, ...args], { cwd: root, timeoutMs: 240_000 });
    assert.equal(done.code, 0, `${done.stderr}\n${done.stdout}`);
    return done.stdout.trim();
  };
  const build = (...args: string[]) =>
    buildah('bud', '--isolation', 'chroot', '--layers=false', '--format', 'docker', '--quiet', ...args);

  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-image-'));
    const made = await run(`${root}test/support/stand-in-image.sh`, [`${dir}/base`]);
    assert.equal(made.code, 0, made.stderr);
    const base =
      'FROM scratch\nCOPY base /\nENV NODE_EXTRA_CA_CERTS=/etc/ca.crt npm_config_prefer_offline=true\n';
    await writeFile(path.join(dir, 'Dockerfile'), base);
    await build('--tag', 'localhost/stand-in', '--file', `${dir}/Dockerfile`, dir);
    const cache = path.join(homedir(), '.npm');
    await mkdir(cache, { recursive: true });
    const options = ['--volume', `${cache}:/root/.npm`, '--build-arg', 'NODE_IMAGE=localhost/stand-in'];
    await build('--tag', 'tidegate', ...options, '--file', `${root}deploy/Dockerfile`, root);
    config = (JSON.parse(await buildah('inspect', '--type', 'image', 'tidegate')) as Inspected).Docker.config;
    rootFolder = await buildah('mount', await buildah('from', 'tidegate'));
  });
  after(async () => {
    await buildah('rm', '--all');
    await rm(dir, { recursive: true, force: true });
  });

  /** A command that runs another one in the image as its user, with its variables, in its folder, on a network of its own. */
  const inside = (...command: string[]) => [
    ...['--mount', '--net', 'sh', '-c'],
    'ip link set lo up && mount --make-rprivate / && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && shift && exec chroot "$@"',
    ...['sh', rootFolder, '--userspec=1000:1000', rootFolder],
    ...['/usr/bin/env', '-i', 'PATH=/usr/bin', ...config.Env],
    ...['/bin/sh', '-c', `cd ${config.WorkingDir} && exec "$@"`, 'sh', ...command],
  ];
  const tidegate = (args: string[], input = '') =>
    run('unshare', inside(...config.Entrypoint, ...args), { input });

  it('runs as an ordinary user, in the folder of its volume', () => {
    assert.equal(config.User, 'node');
    assert.equal(config.WorkingDir, '/var/lib/tidegate');
    assert.deepEqual(config.Cmd, ['serve']);
    assert.equal(config.StopSignal, 'SIGTERM');
    assert.match(config.Healthcheck?.Test.join(' ') ?? '', /^CMD node -e .*127\.0\.0\.1:9090\/livez/);
  });

  it('holds the program and what it needs, and nothing else of the checkout', async () => {
    const program = path.join(rootFolder, 'opt/tidegate');
    assert.deepEqual((await readdir(program)).sort(), [
      'LICENSE',
      'config',
      'dist',
      'node_modules',
      'package.json',
    ]);
    assert.deepEqual((await readdir(`${program}/config`)).sort(), ['REFERENCE.md', 'schema.json']);
    const modules = await readdir(`${program}/node_modules`);
    assert.ok(modules.includes('pino'));
    assert.ok(!modules.includes('typescript'));
    for (const name of ['dist/main.js', 'node_modules/pino/package.json']) {
      const { uid, mode } = await stat(path.join(program, name));
      assert.deepEqual([uid, mode & 0o022], [0, 0], `${name} is not for its user to change`);
    }
    assert.equal((await stat(path.join(rootFolder, config.WorkingDir))).uid, 1000);
  });

  it('makes certificates and users in its volume, serves with them, and ends when told to', async () => {
    const made = await tidegate(['cert', 'create', '--host', 'localhost']);
    assert.equal(made.code, 0, made.stderr);
    const added = await tidegate(['user', 'add', 'alice'], 'sesame\n');
    assert.equal(added.code, 0, added.stderr);
    const child = spawn('unshare', inside(...config.Entrypoint, ...config.Cmd), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout });
    let ended = false;
    child.once('exit', () => (ended = true));
    for await (const line of lines) {
      if (!line.includes('"msg":"listening"')) continue;
      assert.equal((JSON.parse(line) as { port: number }).port, 8443);
      break;
    }
    assert.equal(ended, false);
    const [, ...check] = config.Healthcheck?.Test ?? [];
    const enter = ['--target', String(child.pid ?? 0), '--mount', '--net', '--root', '--setuid', '1000'];
    const healthy = () => run('nsenter', [...enter, '/usr/bin/env', 'PATH=/usr/bin', ...check]);
    assert.equal((await healthy()).code, 0);
    await stop(child);
    assert.equal(child.exitCode, 0);
  });
});
