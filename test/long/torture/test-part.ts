import { test } from 'node:test';
import { unlessInstalled } from '../../support/requirement.ts';
import type { Part } from '../../../torture/trial.ts';

/** The same in each run of the tests, so that what fails in one fails in the next; `npm run torture` takes another each time. */
const seed = 1;

/** A part in its quick form, as a test with one test for each trial. It is skipped in plain sight where a program that it needs is missing. */
export function testPart(part: Part, ...programs: string[]): void {
  void test(part.name, { skip: unlessInstalled(...programs) }, async (t) => {
    const rig = await part.open({ form: 'quick', seed });
    try {
      for (const trial of rig.trials)
        await t.test(trial.name, async (each) => {
          const outcome = await trial.run();
          if (typeof outcome === 'object') each.diagnostic(`${outcome.cases} cases: ${outcome.figure}`);
          else if (outcome !== undefined) each.diagnostic(`${outcome} cases`);
        });
    } finally {
      await rig.close();
    }
  });
}
