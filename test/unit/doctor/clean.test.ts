import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { judgeCleaner, judgePlan } from '../../../src/doctor/operator/clean.ts';
import { findCollectorJobs, judgeCollectorJobs } from '../../../src/doctor/operator/collector-jobs.ts';

const socket = '/run/tidegate-clean/clean.sock';

describe('the doctor about the cleaner', () => {
  const states = (schedule: string | null, report: Parameters<typeof judgeCleaner>[1]) =>
    judgeCleaner({ schedule, socket }, report).map(({ check, state }) => `${check}: ${state}`);
  const done = { result: 'done', why: null, endedAt: '2026-11-29T03:31:00.000Z' } as const;

  it('warns when none runs, though there is a schedule', () => {
    assert.deepEqual(states(null, null), ['clean.cleaner: ok']);
    assert.deepEqual(states('30 3 * * *', null), ['clean.cleaner: warning']);
  });

  it('warns of a run that failed or was refused, and of what is in the way of the next', () => {
    assert.deepEqual(states(null, { doorsFault: null, lastRun: null }), [
      'clean.cleaner: ok',
      'clean.runs: ok',
    ]);
    assert.deepEqual(states(null, { doorsFault: null, lastRun: done }), [
      'clean.cleaner: ok',
      'clean.runs: ok',
    ]);
    const why = 'team/app was written to around the front doors';
    const [door, run] = judgeCleaner(
      { schedule: null, socket },
      { doorsFault: 'No front door is here.', lastRun: { ...done, result: 'failed', why } },
    );
    assert.deepEqual([door?.state, run?.state], ['warning', 'warning']);
    assert.match(door?.what ?? '', /No front door is here/);
    assert.match(run?.what ?? '', /broken off.*around the front doors/);
  });

  it('says what a run would free on a full disk', () => {
    assert.match(judgePlan(0).what, /would free nothing/);
    assert.match(judgePlan(3 * 1024 ** 3).what, /would take 3\.0 GiB/);
  });
});

describe("the doctor about the registry's own collector", () => {
  it('finds it in crontabs and units, but not in comments', async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-jobs-'));
    t.after(() => rm(folder, { recursive: true }));
    const put = async (name: string, text: string) => {
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await writeFile(path.join(folder, name), text);
    };
    assert.equal(judgeCollectorJobs(await findCollectorJobs(folder)).state, 'ok');
    await put('etc/crontab', '# 0 3 * * * root registry garbage-collect -m config.yml\n');
    await put('etc/hosts', 'garbage-collect -m\n');
    assert.equal(judgeCollectorJobs(await findCollectorJobs(folder)).state, 'ok');
    await put('etc/cron.daily/registry', '#!/bin/sh\ndocker-registry garbage-collect /etc/config.yml\n');
    const plain = judgeCollectorJobs(await findCollectorJobs(folder));
    assert.equal(plain.state, 'warning');
    assert.match(plain.what, /registry:2 runs garbage-collect: unless/);
    await put(
      'etc/systemd/system/gc.service',
      '[Service]\nExecStart=/usr/bin/docker exec registry registry garbage-collect --delete-untagged /c.yml\n',
    );
    const worse = judgeCollectorJobs(await findCollectorJobs(folder));
    assert.match(worse.what, /gc\.service:2 runs garbage-collect with --delete-untagged/);
  });
});
