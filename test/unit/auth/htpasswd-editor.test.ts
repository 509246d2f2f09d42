import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { addUser, checkUserName, removeUser } from '../../../src/auth/htpasswd/htpasswd-editor.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';

const bcryptLine = (name: string) => `${name}:\\$2y\\$10\\$[./A-Za-z0-9]{53}`;
const isRoot = process.getuid?.() === 0;

describe('addUser and removeUser', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-user-'));
    file = join(folder, 'htpasswd');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const add = (name: string) => addUser({ file, name, password: 'secret' });
  const text = () => readFileSync(file, 'utf8');
  const assertText = (pattern: string) => assert.match(text(), new RegExp(`^${pattern}$`));

  it('makes a new file with mode 0600, whatever the umask', async () => {
    assert.equal(await add('alice'), 'added');
    assertText(`${bcryptLine('alice')}\n`);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(folder), ['htpasswd']);
  });

  it('replaces a line in its place and keeps all others byte for byte', async () => {
    writeFileSync(file, '\uFEFF# ünï \n\n  alice:plain:more \n bob : x\n#alice:x\nalice:later\n  \n');
    assert.equal(await add('alice'), 'changed');
    assertText(`\uFEFF# ünï \n\n${bcryptLine('alice')}\n bob : x\n#alice:x\nalice:later\n  \n`);
  });

  it('keeps CRLF, and writes new lines so', async () => {
    writeFileSync(file, '# x\r\nalice:a\r\nbob:b\r\n');
    await add('alice');
    await add('carol');
    assertText(`# x\r\n${bcryptLine('alice')}\r\nbob:b\r\n${bcryptLine('carol')}\r\n`);
  });

  it('keeps bytes that are no UTF-8, in comments and in lines that are broken', async () => {
    const [before, after] = ['# K\xe4se \0\nz\xebo:b\nzo\xc3\xab:b\n', 'bob:x:K\xe4se\xff\r\n'];
    writeFileSync(file, `${before}alice:a\n${after}`, 'latin1');
    assert.equal(await add('alice'), 'changed');
    assert.match(readFileSync(file, 'latin1'), new RegExp(`^${before}${bcryptLine('alice')}\n${after}$`));
    await removeUser({ file, name: 'alice' });
    await removeUser({ file, name: 'zoë' });
    assert.equal(readFileSync(file, 'latin1'), '# K\xe4se \0\nz\xebo:b\n' + after);
  });

  it('loses nobody where lines end in CR alone, or each in another way', async () => {
    writeFileSync(file, '# x\ralice:a\rbob:b\r');
    assert.equal(await add('alice'), 'changed');
    assert.equal(await add('carol'), 'added');
    assertText(`# x\r${bcryptLine('alice')}\rbob:b\r${bcryptLine('carol')}\r`);
    await removeUser({ file, name: 'alice' });
    assertText(`# x\rbob:b\r${bcryptLine('carol')}\r`);
    writeFileSync(file, 'alice:a\rbob:b\ncarol:c\r\ndave:d');
    for (const name of ['alice', 'carol', 'dave']) assert.equal(await add(name), 'changed');
    assertText(`${bcryptLine('alice')}\rbob:b\n${bcryptLine('carol')}\r\n${bcryptLine('dave')}`);
  });

  it('knows a name behind the byte order mark of a file that was appended', async () => {
    writeFileSync(file, 'alice:a\n\uFEFFbob:b\n');
    assert.equal(await add('bob'), 'changed');
    assertText(`alice:a\n\uFEFF${bcryptLine('bob')}\n`);
  });

  it('keeps a missing line break at the end', async () => {
    writeFileSync(file, '# x\nalice:a');
    await add('alice');
    assertText(`# x\n${bcryptLine('alice')}`);
    await add('bob');
    assertText(`# x\n${bcryptLine('alice')}\n${bcryptLine('bob')}\n`);
  });

  it('replaces the first line behind a byte order mark', async () => {
    writeFileSync(file, '\uFEFFalice:a\nbob:b\n');
    await add('alice');
    assertText(`\uFEFF${bcryptLine('alice')}\nbob:b\n`);
    await removeUser({ file, name: 'alice' });
    assertText('\uFEFFbob:b\n');
  });

  it('removes every line of a name, and only those', async () => {
    writeFileSync(file, '# alice:\nalice:a\r\nalice2:b\nalice:c\nbob:d');
    await removeUser({ file, name: 'alice' });
    assertText('# alice:\nalice2:b\nbob:d');
    await assert.rejects(removeUser({ file, name: 'alice' }), /There is no user alice in/);
    assertText('# alice:\nalice2:b\nbob:d');
    assert.deepEqual(readdirSync(folder), ['htpasswd']);
  });

  it('keeps mode and owner', async () => {
    writeFileSync(file, 'bob:b\n');
    chmodSync(file, 0o640);
    if (isRoot) chownSync(file, 12, 34);
    const { uid, gid } = statSync(file);
    await add('alice');
    const { mode, ...after } = statSync(file);
    assert.deepEqual([mode & 0o7777, after.uid, after.gid], [0o640, uid, gid]);
  });

  it('follows a symbolic link, also to a file that is not there yet', async () => {
    mkdirSync(join(folder, 'real'));
    symlinkSync('real/users', file);
    await add('alice');
    await add('bob');
    assert.ok(lstatSync(file).isSymbolicLink());
    assert.deepEqual(readdirSync(join(folder, 'real')), ['users']);
    assertText(`${bcryptLine('alice')}\n${bcryptLine('bob')}\n`);
  });

  it('leaves a file alone that it does not understand', async () => {
    for (const [content, reason] of [
      [Buffer.from('\uFEFFbob:b\n', 'utf16le'), /cannot be edited: it is text in UTF-16: save it as UTF-8/],
      [
        Buffer.from('# x\nbob:b\n\0\0\0'),
        /cannot be edited: it is not a text file \(line 3 holds a NUL byte\)/,
      ],
    ] as const) {
      writeFileSync(file, content);
      await assert.rejects(add('alice'), reason);
      assert.deepEqual(readFileSync(file), content);
    }
    assert.deepEqual(readdirSync(folder), ['htpasswd']);
  });

  it('says what is wrong with the place', async () => {
    await assert.rejects(addUser({ file: join(folder, 'no/x'), name: 'a', password: 'b' }), OperatorError);
    await assert.rejects(addUser({ file: folder, name: 'a', password: 'b' }), /not a regular file/);
    await assert.rejects(removeUser({ file, name: 'a' }), /does not exist/);
  });

  const wrongNames = [
    '',
    'a:b',
    'a\nb',
    'a\u007f',
    '#a',
    ' a',
    'a ',
    '\u00a0a',
    '\uFEFFa',
    'zo\ufffd', // what Node makes of an argument in Latin-1
    'zo\udc80',
    'x'.repeat(256),
    'é'.repeat(128),
  ];
  for (const name of wrongNames) {
    it(`refuses the name ${JSON.stringify(name.slice(0, 10))}`, async () => {
      await assert.rejects(add(name), OperatorError);
      assert.equal(existsSync(file), false);
    });
  }
  it('takes names with spaces, UTF-8 and # inside, up to 255 bytes', () => {
    for (const name of ['a b', 'zoë', 'a#b', '-a', 'x'.repeat(255)]) checkUserName(name);
  });

  const wrongPasswords = ['', 'stra\ufffde', 'x'.repeat(73), 'é'.repeat(37), 'a\tb', 'a\0b'];
  for (const password of wrongPasswords) {
    it(`refuses the password ${JSON.stringify(password.slice(0, 10))}`, async () => {
      await assert.rejects(addUser({ file, name: 'alice', password }), OperatorError);
      assert.equal(existsSync(file), false);
    });
  }

  /** Runs an edit in a process that is killed, as by kill -9, in the middle of it. */
  function crashDuringEdit(): void {
    const module = new URL('../../../src/system/files/locked-file.js', import.meta.url).href;
    const script = `import(${JSON.stringify(module)}).then(({ replaceFile }) =>
      replaceFile(${JSON.stringify(file)}, () => process.kill(process.pid, 'SIGKILL') && Buffer.from('new')))`;
    const child = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    assert.equal(child.signal, 'SIGKILL', child.stderr);
  }

  it('a crash in the middle leaves the old file; its lock is taken over after a minute, not before', async () => {
    writeFileSync(file, 'bob:b\n');
    crashDuringEdit();
    assert.equal(text(), 'bob:b\n');
    assert.ok(existsSync(`${file}.lock`));
    await assert.rejects(add('alice'), /is being edited by another process/);
    assert.equal(text(), 'bob:b\n');
    const then = new Date(Date.now() - 61_000);
    utimesSync(`${file}.lock`, then, then);
    const names = Array.from({ length: 10 }, (_, i) => `user${i}`);
    await Promise.all(names.map(add));
    for (const name of names) assert.match(text(), new RegExp(`^${bcryptLine(name)}$`, 'm'));
    assert.deepEqual(readdirSync(folder), ['htpasswd']);
  });
});
