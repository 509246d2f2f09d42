import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addLine, openDebian, type Debian } from '../../support/debian.ts';
import { addHubImage, startHub, types } from '../../support/hub.ts';
import { createImage, type Image } from '../../support/image.ts';
import { root, run } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { makeRelease, makeReleaseBefore, unpackRelease, type ReleaseBefore } from '../../support/releases.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const opened = unlessInstalled('skopeo', 'curl', 'git') || (await openDebian());
const skip = typeof opened === 'string' ? opened : false;
const units = ['tidegate', 'tidegate-registry', 'tidegate-redis', 'tidegate-clean'];
const settings = '/etc/tidegate/config/tidegate.yml';
const upload = { repository: 'team/slow', bytes: 8_000_000 };

/** A client that sends its standard input as one PATCH, and prints the answer, or 000 when the connection was cut. */
const uploadProgram = `
const [url, ca, auth] = process.argv.slice(1);
const { pathname, search, host } = new URL(url);
const headers = { Host: host, 'Content-Type': 'application/octet-stream' };
const options = { host: '127.0.0.1', servername: host, method: 'PATCH', path: pathname + search, auth, headers };
const request = require('node:https').request({ ...options, ca: require('node:fs').readFileSync(ca) });
request.on('response', (answer) => {
  process.stdout.write(answer.statusCode + ' ' + answer.headers.location);
  answer.resume().on('close', () => process.exit(0));
});
request.on('error', (error) => {
  process.stdout.write('000 ' + error.code);
  process.exit(1);
});
process.stdin.pipe(request);`;

/** In a row: each test goes on where the one before has left the machine. */
describe('deploy/install.sh on a Debian that systemd has booted', { skip, timeout: 950_000 }, () => {
  const machine = opened as Debian;
  let image: Image;
  let untouched: Map<string, string>;
  let dir: string;
  let present: string;
  let password = '';
  let releaseBefore: ReleaseBefore;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-systemd-'));
    image = await createImage({ layerCount: 2, layerBytes: 2_000_000 });
    present = '/srv/tidegate-present';
    const releases = [makeRelease(root, `${dir}/release`), makeReleaseBefore()] as const;
    const [release, found] = await Promise.all(releases);
    releaseBefore = found;
    await unpackRelease(release, `${machine.folder}${present}`);
    if ('file' in releaseBefore)
      await unpackRelease(releaseBefore.file, `${machine.folder}/srv/tidegate-before`);
    untouched = await machine.snapshot();
  });
  // In the order in which they were made; `before` may not have come to the last.
  after(() => machine.close());
  after(() => rm(dir, { recursive: true }));
  after(() => image.remove());

  const must = async (file: string, ...args: string[]) => {
    const { code, stdout, stderr } = await machine.run(file, args);
    if (code === 0) return stdout;
    const journal = await machine.run('journalctl', ['-n', '40', '--no-pager', '-o', 'cat']);
    return assert.fail(`${file} ${args.join(' ')}: ${code}\n${stderr}${stdout}\n${journal.stdout}`);
  };
  const install = (folder: string, ...args: string[]) =>
    must('sh', `${folder}/deploy/install.sh`, '--no-packages', ...args);
  const show = async (unit: string, property: string) =>
    (await must('systemctl', 'show', `${unit}.service`, '--value', `--property=${property}`)).trim();
  const expectActive = async (expected: readonly string[] = units) => {
    for (const unit of expected) assert.equal(await show(unit, 'ActiveState'), 'active', unit);
  };
  const mainPids = () => Promise.all(units.map((unit) => show(unit, 'MainPID')));
  const restarts = () => Promise.all(units.map((unit) => show(unit, 'NRestarts')));
  const differences = (from: Map<string, string>, to: Map<string, string>) =>
    [...new Set([...from.keys(), ...to.keys()])].filter((name) => from.get(name) !== to.get(name)).sort();
  /** What belongs to the operator once it is there; `added`: what an older version did not have. */
  const keepsSettings = (
    from: Map<string, string>,
    to: Map<string, string>,
    added: readonly string[] = [],
  ) => {
    const changed = differences(from, to).filter(
      (name) =>
        /^(etc\/tidegate|var\/lib\/tidegate-registry)(\/|$)/.test(name) &&
        !/^var\/lib\/tidegate-registry\/tidegate-clean(\/|$)/.test(name), // the cleaner's own, which it writes as it likes
    );
    const isNew = (name: string) => added.includes(name) && !from.has(name);
    assert.deepEqual(
      changed.filter((name) => !isNew(name)),
      [],
    );
  };
  const curlArgs = (...args: string[]) => [
    ...[
      '--silent',
      '--show-error',
      '--noproxy',
      '*',
      '--cacert',
      `${machine.folder}/etc/tidegate/certs/ca.crt`,
    ],
    ...['--connect-to', '::127.0.0.1:443', '--user', `admin:${password}`, ...args],
  ];
  const curl = async (...args: string[]) => run(...machine.onNetwork('curl', curlArgs(...args)));
  const status = async (target: string) =>
    (await curl('--output', '/dev/null', '--write-out', '%{http_code}', `https://registry.test${target}`))
      .stdout;
  const skopeo = async (side: 'src' | 'dest', from: string, to: string) => {
    const trust = path.join(dir, 'trust');
    await run('install', [
      '-D',
      '-m',
      '644',
      `${machine.folder}/etc/tidegate/certs/ca.crt`,
      `${trust}/ca.crt`,
    ]);
    const options = [`--${side}-cert-dir=${trust}`, `--${side}-creds=admin:${password}`];
    const done = await run(...machine.onNetwork('skopeo', ['copy', ...options, from, to]), {
      env: { HOME: dir, XDG_RUNTIME_DIR: dir, NO_PROXY: '*' },
    });
    assert.equal(done.code, 0, done.stderr);
  };
  const push = (name: string) =>
    skopeo('dest', `docker-archive:${image.archivePath}`, `docker://localhost/${name}`);
  const pull = async (name: string) => {
    const folder = path.join(dir, `pulled-${randomBytes(4).toString('hex')}`);
    await skopeo('src', `docker://localhost/${name}`, `dir:${folder}`);
    const manifest = JSON.parse(await readFile(`${folder}/manifest.json`, 'utf8')) as {
      config: { digest: string };
    };
    assert.equal(manifest.config.digest, image.id);
    assert.equal((await readdir(folder)).length, image.layerCount + 3);
  };
  const served = async () => {
    const done = await curl('--output', '/dev/null', '--write-out', '%{certs}', 'https://localhost/v2/');
    return done.stdout;
  };
  const cameUp = () => until('it answers', async () => (await status('/v2/_catalog')) === '200', 60_000);

  it('sets up the release before, if there is its history', async () => {
    const before = 'file' in releaseBefore ? releaseBefore : null;
    const folder = before === null ? present : '/srv/tidegate-before';
    const stdout = await install(folder, '--host', 'registry.test,localhost');
    password = /^password: (\S{20,})$/m.exec(stdout)?.[1] ?? assert.fail(stdout);
    if (before !== null) assert.equal((await must('tidegate', '--version')).trim(), before.version);
    await expectActive(before === null ? units : units.filter((unit) => unit !== 'tidegate-clean'));
    await push('team/app:1');
    await pull('team/app:1');
  });

  it('upgrades: users, settings, certificates and images stay, and the program is the new one', async () => {
    const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { version: string };
    await addLine(machine, settings, 'immutableTags: ["frozen/**:*"]');
    const before = await machine.snapshot();
    const registry = await show('tidegate-registry', 'MainPID');
    const stdout = await install(present);
    assert.doesNotMatch(stdout, /^password:/m);
    keepsSettings(before, await machine.snapshot(), [
      'etc/tidegate/config/tokens.yml',
      'etc/tidegate/config/tokens.used.json',
      'etc/tidegate/var',
      'etc/tidegate/var/state',
      'etc/tidegate/var/clean',
    ]);
    assert.equal((await must('tidegate', '--version')).trim(), version);
    await expectActive();
    assert.equal(await show('tidegate-registry', 'MainPID'), registry, 'what has not changed runs on');
    await pull('team/app:1');
  });

  it('goes back to the release before and forth again, as the document says', async (t) => {
    if ('missing' in releaseBefore) {
      t.skip(releaseBefore.missing);
      return;
    }
    const page = await readFile(`${root}docs/operations/deployment.md`, 'utf8');
    const command =
      /^(?: {4})?sudo (sh -c '.*opt\/tidegate\.previous.*')$/m.exec(page)?.[1] ?? assert.fail(page);
    await must('sh', '-ec', command);
    assert.equal((await must('tidegate', '--version')).trim(), releaseBefore.version);
    await cameUp();
    await pull('team/app:1');
    await install(present);
    assert.notEqual((await must('tidegate', '--version')).trim(), releaseBefore.version);
    await pull('team/app:1');
  });

  it('takes machine tokens, and keeps when they were used where it may write', async () => {
    const token = (await must('tidegate', 'token', 'create', 'ci', '--expires', '1d')).trim();
    const asMachine = ['--user', `ci:${token}`, '--output', '/dev/null', '--write-out', '%{http_code}'];
    await until(
      'the token is good',
      async () => (await curl(...asMachine, 'https://registry.test/v2/_catalog')).stdout === '200',
    );
    await until('the use is kept', async () =>
      /^ci .* from 127\.0\.0\.1$/m.test(await must('tidegate', 'token', 'list')),
    );
    assert.match(await must('ls', '-l', '/var/lib/tidegate'), /tidegate tidegate .* tokens\.used\.json/);
    await must('tidegate', 'token', 'revoke', 'ci');
  });

  it('runs confined, as the units say', async () => {
    for (const unit of units) {
      const pid = await show(unit, 'MainPID');
      const state = await must('cat', `/proc/${pid}/status`);
      assert.match(state, /^NoNewPrivs:\t1$/m, unit);
      assert.match(state, /^Seccomp:\t2$/m, unit);
      const uid = /^Uid:\t(\d+)/m.exec(state)?.[1] ?? assert.fail(state);
      assert.match(
        await must('getent', 'passwd', uid),
        new RegExp(`^${unit === 'tidegate-clean' ? 'tidegate-registry' : unit}:`),
      );
      const bounding = unit === 'tidegate' ? '0000000000000400' : '0000000000000000';
      assert.match(state, new RegExp(`^CapBnd:\\t${bounding}$`, 'm'), unit);
      const inside = [
        '--target',
        pid,
        '--mount',
        'sh',
        '-c',
        'touch /usr/x /etc/x 2>&1; ls -A /root /home 2>&1',
      ];
      const tried = (await machine.run('nsenter', inside)).stdout;
      assert.match(tried, /'\/usr\/x': Read-only[^]*'\/etc\/x': Read-only/, unit);
    }
    const sockets = await must('ss', '-ltnH');
    for (const port of ['5000', '6390']) assert.match(sockets, new RegExp(`127\\.0\\.0\\.1:${port} `));
    assert.doesNotMatch(sockets, /(\*|0\.0\.0\.0|\[::\]):(5000|6390) /);
  });

  it('the doctor finds nothing, also on the services’ own machine', async () => {
    const args = ['doctor', '--user', 'admin', '--password-stdin', '--json'];
    const { code, stdout, stderr } = await machine.run('tidegate', args, { input: `${password}\n` });
    assert.equal(code, 0, stderr + stdout);
    type Finding = { check: string; state: string };
    const { client, operator } = JSON.parse(stdout) as Record<'client' | 'operator', Finding[]>;
    const found = [...client, ...operator].filter(({ state }) => state !== 'ok' && state !== 'skipped');
    // How many files may be open is the test's machine's, and too few for limits.connections on some.
    assert.deepEqual(
      found.filter(({ check }) => check !== 'machine.open-files'),
      [],
    );
    assert.ok(client.length + operator.length > 40);
  });

  it('a reload puts a change in effect, and one that is wrong fails in plain sight', async () => {
    const pids = await mainPids();
    const certificate = await served();
    await must('tidegate', 'cert', 'create');
    await must('systemctl', 'reload', 'tidegate');
    await until('the new certificate is served', async () => (await served()) !== certificate);
    // The certificate's file alone makes it reload once more.
    await until('it is through', async () => (await show('tidegate', 'ActiveState')) === 'active');
    const right = await readFile(`${machine.folder}${settings}`);
    await addLine(machine, settings, 'nonsense: true');
    const { code, stderr } = await machine.run('systemctl', ['reload', 'tidegate']);
    assert.notEqual(code, 0);
    assert.match(stderr, /Job for tidegate\.service failed/);
    assert.match(await must('journalctl', '-u', 'tidegate', '-n', '30', '-o', 'cat'), /nonsense/);
    await until('it goes on', async () => (await show('tidegate', 'ActiveState')) === 'active');
    await pull('team/app:1');
    await writeFile(`${machine.folder}${settings}`, right);
    await must('systemctl', 'reload', 'tidegate');
    assert.deepEqual(await mainPids(), pids);
  });

  /** An upload of which half has come to the registry; `finish` sends the rest. */
  const beginUpload = async () => {
    const blob = randomBytes(upload.bytes);
    const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
    const url = `https://registry.test/v2/${upload.repository}/blobs/uploads/`;
    const begun = await curl(
      '--request',
      'POST',
      '--output',
      '/dev/null',
      '--write-out',
      '%header{location}',
      url,
    );
    const id = /uploads\/([0-9a-f-]{36})/.exec(begun.stdout)?.[1] ?? assert.fail(begun.stdout + begun.stderr);
    const ca = `${machine.folder}/etc/tidegate/certs/ca.crt`;
    const words = ['-e', uploadProgram, begun.stdout, ca, `admin:${password}`];
    const child = spawn(...machine.onNetwork(process.execPath, words));
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on('error', () => {}); // where it is cut
    const ended = once(child, 'close').then(([code]) => ({ code: code as number, stdout, stderr }));
    child.stdin.write(blob.subarray(0, upload.bytes / 2));
    const folder = `${machine.folder}/var/lib/tidegate-registry/docker/registry/v2/repositories/${upload.repository}`;
    const size = () =>
      stat(`${folder}/_uploads/${id}/data`).then(
        (found) => found.size,
        () => 0,
      );
    await until('the first half is at the registry', async () => (await size()) > upload.bytes / 4);
    return {
      digest,
      ended,
      finish: () => {
        child.stdin.end(blob.subarray(upload.bytes / 2));
        return ended;
      },
    };
  };

  it('a restart lets an upload end, while nobody new gets in; then it serves on', async () => {
    const [pid] = await mainPids();
    const begun = await beginUpload();
    await must('systemctl', 'restart', '--no-block', 'tidegate');
    await until('it ends', async () => (await show('tidegate', 'ActiveState')) === 'deactivating');
    await until('nobody new gets in', async () => (await status('/v2/')) === '000');
    assert.equal(await show('tidegate', 'MainPID'), pid);
    const { stdout, stderr } = await begun.finish();
    assert.match(stdout, /^202 https:/, stderr);
    await cameUp();
    assert.notEqual((await mainPids())[0], pid);
    const location = stdout.slice('202 '.length);
    const ended = await curl(
      ...['--request', 'PUT', '--output', '/dev/null', '--write-out', '%{http_code}'],
      `${location}${location.includes('?') ? '&' : '?'}digest=${begun.digest}`,
    );
    assert.equal(ended.stdout, '201', 'the upload goes on at the new process');
    assert.equal(await status(`/v2/${upload.repository}/blobs/${begun.digest}`), '200');
    await expectActive();
  });

  it('a process that is killed cuts the upload, and systemd starts it again', async () => {
    const [before] = await restarts();
    const begun = await beginUpload();
    await must('systemctl', 'kill', '--signal=KILL', 'tidegate');
    const { code, stdout } = await begun.ended;
    assert.notEqual(code, 0);
    assert.match(stdout, /^000/);
    await cameUp();
    assert.equal(Number((await restarts())[0]), Number(before) + 1);
    await push('team/app:2');
    await pull('team/app:2');
  });

  const mirrored = async () => {
    const url = 'https://registry.test/v2/hub/library/app/manifests/1';
    const options = [
      '--header',
      `Accept: ${types.manifest}`,
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code}',
    ];
    return (await curl(...options, url)).stdout;
  };

  it('adds a mirror, confined like the others but for the network', async () => {
    const [program, prefix] = machine.onNetwork('', []);
    const hub = await startHub({ within: [program, ...prefix.slice(0, -1)] });
    await addHubImage(hub, 'library/app', '1');
    await install(present, '--mirror', `docker.io=${hub.url}`);
    await until('it serves', async () => (await mirrored()) === '200');
    await expectActive();
    const state = await must('cat', `/proc/${await show('tidegate-mirror@hub', 'MainPID')}/status`);
    assert.match(state, /^NoNewPrivs:\t1$[^]*^Seccomp:\t2$/m);
    assert.match(state, /^CapBnd:\t0{16}$/m);
    const uid = /^Uid:\t(\d+)/m.exec(state)?.[1] ?? assert.fail(state);
    assert.match(await must('getent', 'passwd', uid), /^tidegate-mirror:/);
    await hub.stop();
  });

  it('a reboot brings all of it back, also a mirror whose source is away', async () => {
    await machine.reboot();
    await cameUp();
    await until('the mirror serves what it has', async () => (await mirrored()) === '200');
    assert.equal(await show('tidegate-mirror@hub', 'NRestarts'), '0');
    await expectActive();
    await pull('team/app:1');
    assert.deepEqual(
      await restarts(),
      units.map(() => '0'),
    );
  });

  it('installed again, it changes nothing and interrupts nothing', async () => {
    const before = await machine.snapshot();
    const pids = await mainPids();
    const stdout = await install(present);
    assert.doesNotMatch(stdout, /^password:/m);
    const changed = differences(before, await machine.snapshot());
    // What was pulled is recorded meanwhile.
    assert.deepEqual(
      changed.filter((name) => !/^var\/lib\/tidegate\/(?:usage|tokens\.used)/.test(name)),
      [],
    );
    assert.deepEqual(await mainPids(), pids);
  });

  it('--undo keeps settings, users and images, and a further installation takes them up', async () => {
    const before = await machine.snapshot();
    await install(present, '--undo');
    const now = await machine.snapshot();
    keepsSettings(before, now);
    assert.deepEqual(
      [...now.keys()].filter(
        (name) =>
          /^(unit|loaded) tidegate|^(opt|usr\/local|run)\/.*tidegate|\.service/.test(name) &&
          !untouched.has(name),
      ),
      [],
    );
    assert.equal(await status('/v2/'), '000');
    assert.doesNotMatch(await install(present), /^password:/m);
    await pull('team/app:1');
  });

  it('--undo --purge leaves the machine as it was: files, users, units, sockets', async () => {
    await install(present, '--undo', '--purge');
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
  });
});
