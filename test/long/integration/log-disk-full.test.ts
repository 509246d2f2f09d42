import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor, type LogLine } from '../../support/front-door.ts';
import { anonymous, connectClient } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { unlessPossible } from '../../support/requirement.ts';

/** A file system of its own in a mount namespace of its own, which ends with the program. */
const canMount =
  spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt'], { stdio: 'ignore' })
    .status === 0;

describe(
  'a disk that is full',
  { skip: unlessPossible(canMount, 'mounting a tmpfs'), timeout: 360_000 },
  () => {
    /** Starts it with its log file on a small disk; `within` is where that disk is from outside. */
    const startOnDisk = async (size: string, ...set: string[]) => {
      const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-small-disk-'));
      const disk = path.join(dir, 'disk');
      await mkdir(disk);
      const mount = `mount -t tmpfs -o size=${size} tmpfs "$0" && exec "$@"`;
      const frontDoor = await startFrontDoor({
        upstreamUrl: 'http://127.0.0.1:9',
        set: [`log.accessFile=${disk}/access.log`, ...set],
        within: ['unshare', '--mount', 'sh', '-c', mount, disk],
      });
      const inside = path.join(`/proc/${frontDoor.pid}/root`, disk);
      return {
        frontDoor,
        inside,
        /** Fills the disk but for a little, which ends within a line. */
        fill: async () => {
          const { bavail, bsize } = await statfs(inside);
          await writeFile(path.join(inside, 'filler'), Buffer.alloc((bavail - 1) * bsize)).catch(
            (error: unknown) => {
              // A line that was still on its way took a little of it: then it is full, too.
              if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
            },
          );
        },
        empty: () => rm(path.join(inside, 'filler')),
        stop: async () => {
          await frontDoor.stop();
          await rm(dir, { recursive: true });
        },
      };
    };
    /** What is in the file line by line: those that are whole, by path, and how many are not. */
    const readLines = async (inside: string) => {
      const lines = (await readFile(path.join(inside, 'access.log'), 'utf8')).split('\n').filter(Boolean);
      const paths: string[] = [];
      let torn = 0;
      for (const line of lines) {
        try {
          paths.push(String((JSON.parse(line) as LogLine)['path']));
        } catch {
          torn += 1;
        }
      }
      return { paths, torn };
    };
    const isWaiting = ({ msg }: LogLine) => msg === 'a log file cannot be written: its lines wait';
    /** Sends requests over some connections, all of which must be answered. */
    const ask = async (frontDoor: FrontDoor, from: number, count: number, userAgent = '') => {
      let next = from;
      const clients = await Promise.all(Array.from({ length: 8 }, () => connectClient(frontDoor)));
      await Promise.all(
        clients.map(async (client) => {
          while (next < from + count) {
            client.send(anonymous(`GET /v2/n-${next++}`, `User-Agent: ${userAgent}`));
            assert.equal((await client.response()).status, 401);
          }
          client.leave();
        }),
      );
    };

    for (const workers of [1, 2]) {
      test(`workers=${workers}: requests are answered, and no line is lost once there is room`, async () => {
        const { frontDoor, inside, fill, empty, stop } = await startOnDisk('1m', `workers=${workers}`);
        await ask(frontDoor, 0, 50);
        await fill();
        await ask(frontDoor, 50, 400);
        const failure = await frontDoor.logged(isWaiting);
        assert.deepEqual([failure['level'], failure['reason']], [40, 'ENOSPC']);
        await empty();
        const wanted = Array.from({ length: 450 }, (_, i) => `/v2/n-${i}`).sort();
        await until(
          'all lines are there',
          async () => (await readLines(inside)).paths.length >= wanted.length,
        );
        const { paths, torn } = await readLines(inside);
        assert.deepEqual(paths.sort(), wanted);
        // Of one process what was begun is ended; of several, each begins its line anew.
        assert.ok(workers === 1 ? torn === 0 : torn <= workers, `${torn} lines are torn`);
        await stop();
      });
    }

    test('what is too much to wait is dropped, and counted once there is room', async () => {
      const { frontDoor, inside, fill, empty, stop } = await startOnDisk('24m');
      await fill();
      const asked = 14_000; // of 0.7 KB each: more than may wait
      await ask(frontDoor, 0, asked, 'x'.repeat(500));
      await frontDoor.logged(isWaiting);
      await empty();
      await until('those that waited are there', async () => {
        await ask(frontDoor, asked, 1);
        return (await readLines(inside)).paths.includes(`/v2/n-${asked}`);
      });
      const said = await frontDoor.logged(({ msg }) => msg.startsWith('log lines were dropped'));
      assert.equal(said['file'], path.join(inside.replace(`/proc/${frontDoor.pid}/root`, ''), 'access.log'));
      const written = (await readLines(inside)).paths.filter((name) => name !== `/v2/n-${asked}`).length;
      assert.ok(written < asked);
      const dropped = frontDoor.log.reduce((sum, line) => sum + Number(line['dropped'] ?? 0), 0);
      assert.ok(dropped >= asked - written, `${dropped} dropped, ${written} of ${asked} written`);
      await stop();
    });

    test('nor does it hold up the end', async () => {
      const { frontDoor, fill, stop } = await startOnDisk('64k');
      await fill();
      await ask(frontDoor, 0, 100);
      await frontDoor.logged(isWaiting);
      const exited = new Promise((resolve) => frontDoor.process.once('exit', (...how) => resolve(how)));
      frontDoor.process.kill('SIGTERM');
      assert.deepEqual(await exited, [0, null]);
      await stop();
    });
  },
);
