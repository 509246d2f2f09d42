import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openPlanUsage, type UsageSource } from '../../../../src/clean/plan/plan-usage.ts';

type Page = { readonly since: number; readonly rows: readonly (readonly [string, string, number])[] };

/** Front doors with these pages, each with its beginning of the record. */
function doorsOf(pages: readonly Page[]): UsageSource {
  return {
    usage: async function* ({ repositories }) {
      for (const { since, rows } of repositories.length === 0 ? pages.slice(0, 1) : pages)
        yield await Promise.resolve({
          since,
          rows: rows.flatMap(([repository, name, at]) =>
            repositories.includes(repository) ? [{ repository, name, at }] : [],
          ),
        });
    },
  };
}

describe('the record of usage, for a plan', () => {
  it('is null when no front door has one', async () => {
    assert.equal(await openPlanUsage(doorsOf([])), null);
  });

  it('has the last pulls of all pages and front doors, and the latest beginning', async () => {
    const usage = await openPlanUsage(
      doorsOf([
        {
          since: 1,
          rows: [
            ['app', 'latest', 7],
            ['other', 'latest', 1],
          ],
        },
        {
          since: 3,
          rows: [
            ['app', 'sha256:a', 5],
            ['app', 'latest', 6],
          ],
        },
      ]),
    );
    assert.equal(usage?.sinceMs, 1);
    const { sinceMs, pulls } = await usage.read('app');
    assert.equal(sinceMs, 3);
    assert.deepEqual(
      [...pulls],
      [
        ['latest', 7],
        ['sha256:a', 5],
      ],
    );
    const several = await usage.readAll(['app', 'other', 'none']);
    assert.deepEqual([...several.pulls.keys()], ['app', 'other']);
    assert.deepEqual([...(several.pulls.get('other') ?? [])], [['latest', 1]]);
  });
});
