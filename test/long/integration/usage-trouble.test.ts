import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { openUsageFile } from '../../../src/usage/usage-file.ts';
import { findAdmin } from '../../support/admin.ts';
import { asFlags, runDoctor } from '../../support/doctor.ts';
import { password, user } from '../../support/front-door.ts';
import { unlessPossible } from '../../support/requirement.ts';
import {
  openUsage,
  pullTags,
  readUsage,
  untilMetric,
  untilRecorded,
  untilTag,
  usageCommand,
} from '../../support/usage.ts';
import { wholeLog } from '../../support/whole-log.ts';

const alice = [user, password] as const;
const isWarning = ({ level }: Readonly<Record<string, unknown>>) => level === 40;
const dayMs = 24 * 60 * 60 * 1000;

/** A file system of its own in a mount namespace of its own, which ends with the program. */
const canMount =
  spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt'], { stdio: 'ignore' })
    .status === 0;

describe('a record of usage in trouble', { timeout: 480_000, concurrency: 3 }, () => {
  for (const [what, spoil] of [
    ['garbage', (file: string) => writeFile(file, Buffer.alloc(20_000, 'garbage'))],
    ['truncated', async (file: string) => writeFile(file, (await readFile(file)).subarray(0, 5000))],
    ['of another version', async (file: string) => writeFile(file, withVersion(await readFile(file), 7))],
  ] as const)
    test(`a file that is ${what} is set aside, and begun anew`, async (t) => {
      const { start, stateDir, file } = await openUsage(t);
      const first = await start();
      await pullTags(first, 'team/app', ['a'], alice);
      await first.stop();
      const { since } = await readUsage(stateDir);
      await spoil(file);
      const second = await start();
      await pullTags(second, 'team/app', ['b'], alice);
      const usage = await untilRecorded(stateDir, 1);
      assert.equal(usage.repositories[0]?.pulls, 1);
      assert.ok(usage.since > since);
      const line = await second.logged(({ msg }) => msg.includes('was damaged'));
      assert.ok(isWarning(line));
      assert.match(String(line['setAside']), /usage\.db\.broken-\d{8}T\d{6}Z$/);
      assert.equal((await stat(String(line['setAside']))).isFile(), true);
    });

  test('what happens to the file while it serves harms no request', async (t) => {
    const { start, stateDir, file } = await openUsage(t);
    const door = await start();
    const admin = await findAdmin(door);
    await pullTags(door, 'team/app', ['a'], alice);
    await untilMetric(admin, 'tidegate_usage_rows', (rows) => rows === 5);
    await rm(path.dirname(file), { recursive: true });
    await pullTags(door, 'team/app', ['b'], alice);
    assert.equal((await untilRecorded(stateDir, 1)).repositories[0]?.pulls, 1);

    // Cut off and overwritten in place, with its journal: SQLite finds out at the latest when it reads it again.
    for (const name of [file, `${file}-wal`]) await writeFile(name, Buffer.alloc(8192, 7));
    await pullTags(door, 'team/app', ['c'], alice);
    await door.stop();
    const again = await start();
    await pullTags(again, 'team/app', ['d'], alice);
    const { tags } = await untilTag(stateDir, 'd');
    assert.deepEqual([tags.find(({ tag }) => tag === 'd')?.pulls], [1]);
  });

  test('a folder that cannot be written is one warning', async (t) => {
    const { start } = await openUsage(t);
    const door = await start('state.dir=htpasswd/state');
    await pullTags(door, 'team/app', ['a', 'b'], alice);
    const admin = await findAdmin(door);
    await untilMetric(admin, 'tidegate_usage_recording', (value) => value === 0);
    await door.logged(isWarning);
    const warnings = door.log.filter(isWarning).filter(({ msg }) => msg.includes('recorded'));
    assert.deepEqual(
      warnings.map(({ msg }) => msg.replace(/: ENOTDIR.*/, '')),
      ['What is pulled and pushed cannot be recorded now'],
    );
    const asked = await usageCommand(path.join(door.dir, 'htpasswd/state'));
    assert.equal(asked.code, 1);
    assert.match(asked.stderr, /^The record in .* cannot be read: /);
  });

  test('a second Tidegate on the same folder serves, and does not record', async (t) => {
    const { start, stateDir } = await openUsage(t);
    const first = await start();
    const second = await start();
    await pullTags(first, 'team/app', ['a'], alice);
    await pullTags(second, 'team/app', ['b'], alice);
    const warning = await second.logged(({ msg }) => msg.includes('cannot be recorded'));
    assert.match(warning.msg, /another Tidegate has .* open$/);
    assert.equal((await untilRecorded(stateDir, 1)).repositories[0]?.pulls, 1);
  });

  test(
    'a full disk: serving goes on, and what could not be written is written when there is room',
    { skip: unlessPossible(canMount, 'mounting a tmpfs') },
    async (t) => {
      const { start, stateDir } = await openUsage(t, [], {
        within: [
          'unshare',
          '--mount',
          'sh',
          '-c',
          'mount -t tmpfs -o size=300k tmpfs "$0" && exec "$@"',
          '/mnt',
        ],
      });
      const door = await start('state.dir=/mnt');
      const admin = await findAdmin(door);
      const inside = `/proc/${door.pid}/root/mnt`;
      await pullTags(door, 'team/app', ['before'], alice);
      await untilMetric(admin, 'tidegate_usage_rows', (rows) => rows === 5);
      const { bavail, bsize } = await statfs(inside);
      await writeFile(path.join(inside, 'filler'), Buffer.alloc((bavail - 1) * bsize));
      await pullTags(
        door,
        'team/app',
        Array.from({ length: 40 }, (_, i) => `t${i}`),
        alice,
      );
      await untilMetric(admin, 'tidegate_usage_recording', (value) => value === 0);
      await pullTags(door, 'team/app', ['meanwhile'], alice);
      await door.logged(isWarning);
      assert.equal((await wholeLog(door)).filter(isWarning).length, 1);
      await rm(path.join(inside, 'filler'));
      await untilMetric(admin, 'tidegate_usage_recording', (value) => value === 1);
      await untilMetric(admin, 'tidegate_usage_rows', (rows) => rows === 5 + 2 * 41);
      assert.equal((await admin.metrics()).get('tidegate_usage_dropped_total'), 0);
      assert.ok(((await admin.metrics()).get('tidegate_usage_errors_total') ?? 0) > 0);
      assert.equal(stateDir.startsWith('/'), true);
    },
  );

  test('the doctor warns of users that only machines use', async (t) => {
    const { start, file, stateDir } = await openUsage(t);
    const now = Date.now();
    await mkdir(path.dirname(file), { mode: 0o700 });
    const record = openUsageFile(file, {
      ...{ breaksLock: false, limits: { maxRows: 1e6, maxBytes: 1e9 }, sinceMs: now - 20 * dayMs },
    });
    for (let ago = 10; ago > 0; ago -= 1)
      record.write(
        {
          manifests: [],
          users: [
            { user, family: 'containerd', logins: 1, addresses: [] },
            { user: 'gone', family: 'kaniko', logins: 1, addresses: [] },
          ],
          changes: [],
          dropped: 0,
        },
        new Map([[user, 3]]),
        now - ago * dayMs,
      );
    record.close();
    const door = await start();
    const doctor = (...more: string[]) =>
      runDoctor(
        asFlags([`state.dir=${stateDir}`, `auth.htpasswd=${door.htpasswdPath}`, 'admin.port=', ...more]),
        { login: false, cwd: door.dir },
      );
    const { find } = await doctor();
    const found = find('htpasswd.machines');
    assert.equal(found.state, 'warning');
    assert.match(
      found.what,
      /^1 user seems to be used by machines only: alice \(only containerd used it, on 10 days\)\. /,
    );
    assert.match(found.fix ?? '', /^tidegate token create NAME .*tidegate user remove alice$/);

    // Somebody logs in with docker.
    await pullTags(door, 'team/app', ['a'], alice, 'docker/28.2.2 go/go1.24.3 os/linux arch/amd64');
    await untilRecorded(stateDir, 1);
    assert.equal((await doctor()).find('htpasswd.machines').state, 'ok');
    assert.equal((await doctor('state.usage=false')).find('htpasswd.machines').state, 'skipped');
  });
});

/** Changes the number at offset 60 of an SQLite file: its user_version. */
function withVersion(file: Buffer, version: number): Buffer {
  file.writeUInt32BE(version, 60);
  return file;
}
