import assert from 'node:assert/strict';
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { copyCertificate } from '../../test/support/certificate-files.ts';
import { mainPath, run, tidegate, type Finished } from '../../test/support/processes.ts';

/** One way to harm somebody with a file, in a folder of its own. */
export type FileTrick = { readonly name: string; readonly play: (dir: string) => Promise<void> };

const keys = [
  'tls.key',
  'auth.htpasswd',
  'upstream.ca',
  'tls.cert',
  'tls.clientCa',
  'cache.redis.ca',
  'alerts.ca',
] as const;
const oddities = [
  '/dev/zero',
  'a FIFO',
  'a folder',
  '/dev/null',
  'a link to nothing',
  'a link to itself',
  'an empty file',
] as const;

/** What may stand where a file is expected that `serve` reads; `isShort`: only what would harm most. */
export function listOddFiles(isShort: boolean): FileTrick[] {
  return keys.slice(0, isShort ? 3 : keys.length).flatMap((key) =>
    oddities
      .slice(0, isShort ? 2 : oddities.length)
      // One without users is an htpasswd file.
      .filter((what) => key !== 'auth.htpasswd' || what !== 'an empty file')
      .map((what) => ({
        name: `${key} is ${what}: serve ends with one sentence`,
        play: (dir) => startWith(dir, key, what),
      })),
  );
}

const tricks: readonly (readonly [name: string, play: (dir: string) => Promise<void>])[] = [
  ['user add: a link as the lock file is not written through', addThroughLockLink],
  ['user add: a stale lock that is a link is not written through', addThroughStaleLink],
  ['user add: the file is a FIFO', (dir) => addTo(dir, (file) => makeFifo(file))],
  ['user add: the file is a folder', (dir) => addTo(dir, (file) => mkdir(file).then(() => undefined))],
  ['user add: the file is a link to itself', (dir) => addTo(dir, (file) => symlink(file, file))],
  ['user add: the file is a device', (dir) => addTo(dir, (file) => symlink('/dev/null', file))],
  ['user add: a hard link elsewhere keeps the old content', addBesideHardLink],
  ['user add: mode and owner stay, and there is no moment with another mode', addKeepsMode],
  ['cert create: links in the place of what it writes are left alone', certThroughLinks],
  ['cert create: under any umask the keys are for their owner alone', certUnderUmask],
  [
    'cert create: in the place of a key that others could read comes one that they cannot',
    certOverReadableKey,
  ],
];
/** What somebody who may write into a folder can prepare for a command that root runs there. */
export const preparedFolders: readonly FileTrick[] = tricks.map(([name, play]) => ({ name, play }));

async function startWith(dir: string, key: string, what: string): Promise<void> {
  const certs = path.join(dir, 'certs');
  await copyCertificate(certs, ['localhost']);
  await writeFile(path.join(dir, 'htpasswd'), 'alice:x\n');
  const odd = path.join(dir, 'odd');
  const file = what.startsWith('/dev/') ? what : odd;
  if (what === 'a FIFO') await makeFifo(odd);
  if (what === 'a folder') await mkdir(odd);
  if (what === 'a link to nothing') await symlink(path.join(dir, 'nothing'), odd);
  if (what === 'a link to itself') await symlink(odd, odd);
  if (what === 'an empty file') await writeFile(odd, '');
  const settings = {
    'listen.host': '127.0.0.1',
    'listen.port': '0',
    'admin.port': '',
    workers: '1',
    'tls.cert': `${certs}/server.crt`,
    'tls.key': `${certs}/server.key`,
    'auth.htpasswd': `${dir}/htpasswd`,
    'upstream.url': 'https://127.0.0.1:1',
    'cache.driver': key === 'cache.redis.ca' ? 'redis' : 'off',
    'cache.redis.url': 'rediss://127.0.0.1:1',
    'alerts.webhook': key === 'alerts.ca' ? 'https://127.0.0.1:1/' : '',
    [key]: file,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const ended = await tidegate(['serve', ...args], { cwd: dir, timeoutMs: 20_000 });
  refusedWithSentence(ended);
  // And not for something else.
  assert.ok(ended.stderr.includes(file), ended.stderr);
}

function refusedWithSentence({ code, stderr, stdout }: Finished): void {
  assert.equal(code, 1, `it ended with ${code}: ${stderr}${stdout}`);
  const lines = stderr.trim().split('\n');
  assert.equal(lines.length, 1, stderr);
  assert.doesNotMatch(stderr, /^\s+at |node:internal/m);
}

async function makeFifo(file: string): Promise<void> {
  assert.equal((await run('mkfifo', [file])).code, 0);
}

const add = (file: string, timeoutMs = 20_000) =>
  tidegate(['user', 'add', 'mallory', '--file', file], { input: 'open: sesame\n', timeoutMs });

async function addTo(dir: string, prepare: (file: string) => Promise<void>): Promise<void> {
  const file = path.join(dir, 'htpasswd');
  await prepare(file);
  const before = await lstat(file);
  refusedWithSentence(await add(file));
  const after = await lstat(file);
  assert.deepEqual([after.ino, after.mode], [before.ino, before.mode]);
  assert.deepEqual((await readdir(dir)).sort(), ['htpasswd']);
}

async function addThroughLockLink(dir: string): Promise<void> {
  const [file, victim] = [path.join(dir, 'htpasswd'), path.join(dir, 'victim')];
  await writeFile(file, '');
  await writeFile(victim, 'precious');
  await symlink(victim, `${file}.lock`);
  refusedWithSentence(await add(file));
  assert.equal(await readFile(victim, 'utf8'), 'precious');
  assert.equal(await readFile(file, 'utf8'), '');
}

async function addThroughStaleLink(dir: string): Promise<void> {
  const [file, victim] = [path.join(dir, 'htpasswd'), path.join(dir, 'victim')];
  await writeFile(file, '');
  await writeFile(victim, 'precious', { mode: 0o644 });
  await utimes(victim, 1, 1);
  await symlink(victim, `${file}.lock`);
  await add(file); // whether the lock is taken over or not
  assert.equal(await readFile(victim, 'utf8'), 'precious');
  assert.equal((await stat(victim)).nlink, 1);
  assert.ok((await lstat(file)).isFile());
}

async function addBesideHardLink(dir: string): Promise<void> {
  const [file, other] = [path.join(dir, 'htpasswd'), path.join(dir, 'other')];
  await writeFile(file, 'alice:x\n', { mode: 0o640 });
  await link(file, other);
  assert.equal((await add(file)).code, 0);
  assert.equal(await readFile(other, 'utf8'), 'alice:x\n');
  assert.match(await readFile(file, 'utf8'), /^alice:x\nmallory:\$2y\$10\$/);
}

async function addKeepsMode(dir: string): Promise<void> {
  const file = path.join(dir, 'htpasswd');
  const made = await run(
    'sh',
    ['-c', 'umask 0; exec "$@"', 'sh', process.execPath, mainPath, 'user', 'add', 'mallory', '--file', file],
    {
      input: 'open: sesame\n',
    },
  );
  assert.equal(made.code, 0, made.stderr);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  await chmod(file, 0o440);
  assert.equal((await add(file)).code, 0);
  assert.equal((await stat(file)).mode & 0o777, 0o440);
}

async function certThroughLinks(dir: string): Promise<void> {
  for (const name of ['ca.crt', 'ca.key', 'server.crt', 'server.key']) {
    const out = path.join(dir, name);
    const victim = path.join(dir, `victim-of-${name}`);
    await mkdir(out);
    await writeFile(victim, 'precious');
    for (const target of [victim, path.join(dir, 'nothing')]) {
      await symlink(target, path.join(out, name));
      refusedWithSentence(await tidegate(['cert', 'create', '--host', 'localhost', '--out', out]));
      assert.equal(await readFile(victim, 'utf8'), 'precious');
      await assert.rejects(stat(path.join(dir, 'nothing')));
      await rm(path.join(out, name));
    }
    assert.deepEqual(await readdir(out), []);
  }
}

async function certUnderUmask(dir: string): Promise<void> {
  const command = [
    'umask 0; exec "$@"',
    'sh',
    process.execPath,
    mainPath,
    'cert',
    'create',
    '--host',
    'localhost',
  ];
  const { code, stderr } = await run('sh', ['-c', ...command, '--out', dir]);
  assert.equal(code, 0, stderr);
  for (const name of ['ca.key', 'server.key'])
    assert.equal((await stat(path.join(dir, name))).mode & 0o777, 0o600);
  assert.deepEqual((await readdir(dir)).sort(), ['ca.crt', 'ca.key', 'server.crt', 'server.key']);
}

async function certOverReadableKey(dir: string): Promise<void> {
  await copyCertificate(dir, ['localhost']);
  await chmod(path.join(dir, 'server.key'), 0o666);
  const { code, stderr } = await tidegate(['cert', 'create', '--host', 'localhost', '--force', '--out', dir]);
  assert.equal(code, 0, stderr);
  assert.equal((await stat(path.join(dir, 'server.key'))).mode & 0o777, 0o600);
}

/** Plays one in a folder of its own, which is removed afterwards. */
export async function playTrick({ play }: FileTrick): Promise<void> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-trick-'));
  try {
    await play(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
