import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findAdmin, watched, type Admin } from '../../support/admin.ts';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { digestOf, imageOf, imageType } from '../../support/cleaned-registry.ts';
import { cleanCommand, startCleaner, type Cleaner } from '../../support/cleaner.ts';
import { pushBlob } from '../../support/delete-history.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** On 29 February alone. */
const rare = '0 0 29 2 *';

/** In a row: each test goes on where the one before has left the registry. */
describe(
  'the schedule of the clean-up, before a registry',
  { timeout: 550_000, skip: unlessInstalled('docker-registry') },
  () => {
    let dir: string;
    let registry: Registry;
    let door: FrontDoor;
    let cleaner: Cleaner | null = null;
    let client: CacheClient;
    let admin: Admin;
    before(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
      registry = await startRegistry();
      door = await startFrontDoor({ upstreamUrl: registry.url, config: configOf({}), set: watched });
      client = createCacheClient(door);
      admin = await findAdmin(door);
    });
    after(async () => {
      client.close();
      await cleaner?.stop();
      await door.stop();
      await registry.stop();
      await rm(dir, { recursive: true });
    });

    const configOf = (clean: object) =>
      JSON.stringify({
        upstream: { storage: registry.storageDir },
        clean: {
          ...{ socket: path.join(dir, 'clean.sock'), grace: '0', untagged: '0', schedule: rare },
          rules: [{ repositories: ['ci/**'], tags: ['*'], keep: { newest: 1 } }],
          ...clean,
        },
      });
    const configure = (clean: object) => writeFile(path.join(dir, 'tidegate.yml'), configOf(clean));
    const start = async (): Promise<Cleaner> => {
      await cleaner?.stop();
      cleaner = await startCleaner(['--config', path.join(dir, 'tidegate.yml')], dir);
      return cleaner;
    };
    const status = async () => {
      const args = ['--config', path.join(dir, 'tidegate.yml')];
      const { code, stdout, stderr } = await cleanCommand(['clean', 'status', ...args], dir);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const metric = async (name: string) => (await admin.metrics()).get(`tidegate_clean_${name}`);
    const push = async (tag: string) => {
      await pushBlob(client, 'ci/app', tag);
      const body = imageOf([tag]);
      const headers = { 'Content-Type': imageType };
      const { status: pushed } = await client.ask('PUT', `/v2/ci/app/manifests/${tag}`, { headers, body });
      assert.equal(pushed, 201);
    };
    const hasData = (text: string) => {
      const hex = digestOf(text).slice('sha256:'.length);
      const data = `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
      return existsSync(path.join(registry.storageDir, data));
    };
    const record = () => path.join(registry.storageDir, 'tidegate-clean/schedule.json');
    /** Has a cleaner know the schedule, and be down when a run comes. */
    const miss = async () => {
      await start();
      await until('the schedule is noted', () => existsSync(record()));
      await cleaner?.stop();
      const known = JSON.parse(await readFile(record(), 'utf8')) as { schedule: string };
      assert.equal(known.schedule, rare);
      await writeFile(record(), JSON.stringify({ ...known, handledAt: Date.UTC(2020, 0, 1) }));
    };
    const ranBySchedule = ({ msg, job, by }: { msg: string; job?: unknown; by?: unknown }) =>
      msg === 'job done' && job === 'run' && by === 'schedule';

    it('makes up for a run that was missed while the cleaner was down, and for no other', async () => {
      await push('one');
      await push('two');
      await configure({});
      await miss();
      const late = await start();
      await late.logged(({ msg }) => msg === 'scheduled run was missed, and is made up for');
      await late.logged(ranBySchedule);
      assert.deepEqual([hasData('one'), hasData('two')], [false, true]);
      assert.match(await status(), /^Last run: done, .*took 1 tag, 1 manifest/m);
      await until('the metrics tell', async () => (await metric('last_run_success')) === 1);
      assert.ok(Number(await metric('last_run_bytes')) > 0);
      const again = await start();
      await status();
      assert.deepEqual(
        again.log.filter(({ msg }) => /missed|job/.test(msg)),
        [],
      );
    });

    it('begins a run when its minute comes', async () => {
      await push('three');
      await configure({ schedule: '* * * * *' });
      const running = await start();
      await running.logged(ranBySchedule);
      assert.deepEqual([hasData('two'), hasData('three')], [false, true]);
      assert.match(await status(), /^Next run: 20\d\d-.*Z \(\* \* \* \* \*\)\.$/m);
    });

    it('puts a run off that Tidegate started too lately for, and counts no failure', async () => {
      await push('four');
      await configure({});
      await miss();
      const ended = await metric('last_run_timestamp_seconds');
      await configure({ grace: '1h' });
      await writeFile(path.join(door.dir, 'tidegate.yml'), configOf({ grace: '1h' }));
      door.process.kill('SIGHUP');
      await door.logged(({ msg }) => msg === 'reloaded');
      const waiting = await start();
      const { reason } = await waiting.logged(({ msg }) => msg === 'scheduled run put off');
      assert.match(String(reason), /^Nothing is taken before 20\d\d-\d\d-\d\d \d\d:\d\dZ: clean\.grace/);
      assert.match(
        await status(),
        /^Next run: that of 2020-02-29 .*, put off to 20\d\d-\d\d-\d\d \d\d:\d\dZ\. Nothing is taken before /m,
      );
      assert.equal(await metric('last_run_timestamp_seconds'), ended);
      assert.equal(await metric('last_run_success'), 1);
      // Nothing has to pass now.
      await configure({});
      await writeFile(path.join(door.dir, 'tidegate.yml'), configOf({}));
      const before = waiting.log.filter(({ msg }) => msg === 'a front door is connected').length;
      door.process.kill('SIGHUP');
      await until(
        'the front door has told it',
        () => waiting.log.filter(({ msg }) => msg === 'a front door is connected').length > before,
      );
      waiting.process.kill('SIGHUP');
      await waiting.logged(ranBySchedule);
      assert.deepEqual([hasData('three'), hasData('four')], [false, true]);
      assert.deepEqual(
        [...waiting.log, ...door.log].filter(({ msg, alert }) => msg === 'job failed' || alert !== undefined),
        [],
      );
    });
  },
);
