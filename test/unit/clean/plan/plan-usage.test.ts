import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Doors } from '../../../../src/clean/channel/doors.ts';
import { openPlanUsage } from '../../../../src/clean/plan/plan-usage.ts';
import type { UsageRow } from '../../../../src/usage/usage-file.ts';
import type { UsageQuestion } from '../../../../src/usage/usage-question.ts';

const row = (name: string, at: number | null): UsageRow => ({
  name,
  digest: null,
  pulls: { at, by: null, count: at === null ? 0 : 1 },
  pushes: { at: 9, by: 'alice', count: 1 },
});

/** Front doors with these pages, each with its beginning of the record. */
function doorsOf(pages: readonly { since: number; rows: readonly UsageRow[] }[]): Pick<Doors, 'usage'> {
  async function* usage(question: UsageQuestion) {
    const answered =
      question.ask === 'repositories' ? pages.slice(0, 1).map((page) => ({ ...page, rows: [] })) : pages;
    for (const page of answered) yield await Promise.resolve({ asOf: 10, ...page });
  }
  return { usage: usage as Doors['usage'] };
}

describe('the record of usage, for a plan', () => {
  it('is null when no front door has one', async () => {
    assert.equal(await openPlanUsage(doorsOf([])), null);
  });

  it('has the last pulls of all pages, and the latest beginning', async () => {
    const usage = await openPlanUsage(
      doorsOf([
        { since: 1, rows: [row('', 7), row('latest', 7), row('old', null)] },
        { since: 3, rows: [row('sha256:a', 5)] },
      ]),
    );
    assert.equal(usage?.sinceMs, 1);
    const { sinceMs, pulls } = await usage.read('app');
    assert.equal(sinceMs, 3);
    assert.deepEqual(
      [...pulls],
      [
        ['', 7],
        ['latest', 7],
        ['sha256:a', 5],
      ],
    );
  });
});
