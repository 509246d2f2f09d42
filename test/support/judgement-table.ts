import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Finding } from '../../src/doctor/finding.ts';

/** What is judged, the verdict, the state it should have, and what it should say in `sentence → mend`. */
export type JudgementRow = [string, Finding, Finding['state'], RegExp?];

/** A test for each row; whatever is not well must say how to mend it. */
export function testJudgements(title: string, rows: readonly JudgementRow[]): void {
  describe(title, () => {
    for (const [name, finding, state, said] of rows) {
      it(`${name}: ${state}`, () => {
        assert.equal(finding.state, state, finding.what);
        if (said) assert.match(`${finding.what} → ${finding.fix ?? ''}`, said);
        if (state === 'warning' || state === 'broken') assert.ok(finding.fix);
      });
    }
  });
}
