import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatStatus, statusJson, type CleanerStatus } from '../../../../src/clean/server/status.ts';

const nowMs = Date.UTC(2026, 10, 29, 14);
const status: CleanerStatus = {
  version: '1.0.0',
  startedAt: nowMs,
  registry: '/images',
  schedule: null,
  nextRun: null,
  dueRun: null,
  job: null,
  doors: [],
  doorsFault: null,
  takesFrom: nowMs + 86_400_000,
  running: false,
  lastRun: { endedAt: nowMs, result: 'done', why: null, tags: 0, manifests: 1, blobs: 0, bytes: 0 },
  quarantinedBytes: 0,
  freeBytes: null,
  failures: 0,
  runs: [],
};

describe('the status of the cleaner', () => {
  it('says from when on a run takes anything', () => {
    const line = /^Takes nothing before 2026-11-30 14:00Z: clean\.grace after Tidegate's start\.$/m;
    assert.match(formatStatus(status), line);
    assert.doesNotMatch(formatStatus({ ...status, takesFrom: null }), /Takes nothing/);
    const { takesFrom } = JSON.parse(statusJson(status)) as { takesFrom: string };
    assert.equal(takesFrom, '2026-11-30T14:00:00.000Z');
  });

  it('says of a run that is due why it waits', () => {
    const dueRun = { dueAt: nowMs, until: nowMs + 3_600_000, why: 'Nothing is taken before then.' };
    const due = { ...status, schedule: '0 14 * * *', dueRun };
    assert.match(
      formatStatus(due),
      /^Next run: that of 2026-11-29 14:00Z \(0 14 \* \* \*\), put off to 2026-11-29 15:00Z\. Nothing is taken before then\.$/m,
    );
    assert.match(
      formatStatus({ ...due, dueRun: { ...dueRun, until: null, why: 'Another job runs.' } }),
      /^Next run: that of 2026-11-29 14:00Z \(0 14 \* \* \*\), waits\. Another job runs\.$/m,
    );
    assert.deepEqual((JSON.parse(statusJson(due)) as { dueRun: object }).dueRun, {
      ...{ dueAt: '2026-11-29T14:00:00.000Z', until: '2026-11-29T15:00:00.000Z' },
      why: 'Nothing is taken before then.',
    });
  });

  it('leaves out what a run took none of', () => {
    assert.match(formatStatus(status), /^Last run: done, 2026-11-29 14:00Z: took 1 manifest\.$/m);
    const nothing = { endedAt: nowMs, result: 'done', why: null, tags: 0, manifests: 0, blobs: 0, bytes: 0 };
    assert.match(
      formatStatus({ ...status, lastRun: { ...nothing, result: 'done' } }),
      /^Last run: done, 2026-11-29 14:00Z: took no tag, manifest or blob\.$/m,
    );
  });
});
