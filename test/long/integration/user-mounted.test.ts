import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseHtpasswd } from '../../../src/auth/htpasswd/htpasswd.ts';
import { startFrontDoor } from '../../support/front-door.ts';
import { mainPath, run } from '../../support/processes.ts';
import { anonymous, exchange } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { unlessPossible } from '../../support/requirement.ts';
import { answerOk, startUpstream } from '../../support/scripted-upstream.ts';

const canMount = spawnSync('unshare', ['-m', 'true']).status === 0;

/** As `docker run -v ./htpasswd:/etc/tidegate/htpasswd` does it, in a mount namespace that ends with the command. */
describe(
  'an htpasswd file that is mounted by itself',
  { timeout: 360_000, skip: unlessPossible(canMount, 'a mount namespace of its own, as root') },
  () => {
    let dir: string;
    let source: string;
    let mounted: string;
    beforeEach(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-mounted-'));
      source = path.join(dir, 'htpasswd');
      await mkdir(path.join(dir, 'etc'));
      mounted = path.join(dir, 'etc/htpasswd');
      await writeFile(mounted, '');
      await writeFile(source, '# K\xe4se\nalice:a\nbob:b\n', 'latin1');
      await chmod(source, 0o640);
    });
    afterEach(() => rm(dir, { recursive: true, force: true }));

    const bind = 'mount --bind "$SOURCE" "$MOUNTED"';
    const closeFolder = 'mount --bind "$DIR/etc" "$DIR/etc" && mount -o remount,bind,ro "$DIR/etc"';
    const within = (script: string, input = 'secret\n') =>
      run('unshare', ['-m', 'sh', '-c', `set -e; ${script}`], {
        input,
        env: { DIR: dir, SOURCE: source, MOUNTED: mounted, NODE: process.execPath, MAIN: mainPath },
      });
    const user = (verb: string, name: string) => `"$NODE" "$MAIN" user ${verb} ${name} --file "$MOUNTED"`;
    const names = (text: string) => text.split('\n').map((line) => line.replace(/:.*/, ''));

    for (const [folder, prepare] of [
      ['that may be written to', bind],
      ['that is read-only', `${closeFolder}; ${bind}`],
    ] as const) {
      it(`in a folder ${folder}, is edited in place`, async () => {
        const before = statSync(source);
        const added = await within(`${prepare}; ${user('add', 'carol')}; ls "$DIR/etc"`);
        assert.equal(added.stderr, '');
        assert.equal(added.stdout, `Added carol to ${mounted}.\nhtpasswd\n`);
        const text = await readFile(source, 'latin1');
        assert.match(text, /^# K\xe4se\nalice:a\nbob:b\ncarol:\$2y\$10\$.{53}\n$/);
        const removed = await within(`${prepare}; ${user('remove', 'alice')}; ${user('remove', 'carol')}`);
        assert.equal(removed.code, 0, removed.stderr);
        assert.equal(await readFile(source, 'latin1'), '# K\xe4se\nbob:b\n');
        const after = statSync(source);
        assert.deepEqual([after.ino, after.mode], [before.ino, before.mode]);
        assert.deepEqual(await readdir(path.join(dir, 'etc')), ['htpasswd']);
      });

      it(`in a folder ${folder}, loses no edit of several at a time`, async () => {
        const all = Array.from({ length: 6 }, (_, i) => `user${i}`);
        const edits = all.map((name) => `(echo secret | ${user('add', name)}) & pids="$pids $!"`).join('; ');
        const done = await within(`${prepare}; pids=; ${edits}; for pid in $pids; do wait $pid; done`);
        assert.equal(done.code, 0, done.stderr);
        const { entries } = parseHtpasswd(await readFile(source, 'utf8'), {
          maxBcryptCost: 10,
          maxShaCryptRounds: 5000,
        });
        assert.deepEqual([...entries.keys()].sort(), all);
      });
    }

    it('that is read-only itself, or on a full disk, stays as it was, and the sentence says so', async () => {
      const closed = await within(`${bind}; mount -o remount,bind,ro "$MOUNTED"; ${user('add', 'carol')}`);
      assert.equal(closed.code, 1);
      assert.match(
        closed.stderr,
        /cannot be changed \(EROFS.*\): it is mounted read-only here; change it where/,
      );
      assert.deepEqual(names(await readFile(source, 'latin1')), ['# K\xe4se', 'alice', 'bob', '']);

      const lines = 'x:y\n'.repeat(1024); // a page: the next user needs another one
      await writeFile(source, lines);
      const full = await within(
        `mkdir "$DIR/disk"; mount -t tmpfs -o size=4k tmpfs "$DIR/disk"; cp "$SOURCE" "$DIR/disk/htpasswd"; ` +
          `mount --bind "$DIR/disk/htpasswd" "$MOUNTED"; ! ${user('add', 'carol')}; cmp "$SOURCE" "$MOUNTED"`,
      );
      assert.equal(full.code, 0, full.stdout + full.stderr);
      assert.match(full.stderr, /cannot be changed: ENOSPC/);
    });

    it('is followed by a front door: who was added gets in', async () => {
      const upstream = await startUpstream({ script: answerOk });
      const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
      source = frontDoor.htpasswdPath;
      const added = await within(`${bind}; ${user('add', 'carol')}`);
      assert.equal(added.code, 0, added.stderr);
      const authorization = `Authorization: Basic ${Buffer.from('carol:secret').toString('base64')}`;
      await until('carol gets in', async () => {
        const { status } = await exchange(frontDoor, anonymous('GET /v2/', authorization));
        return status === 200;
      });
      await frontDoor.stop();
      await upstream.close();
    });
  },
);
