import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Finding } from '../../src/doctor/finding.ts';

/** The case, the finding, its expected state, and what `sentence → mend` must match. */
export type JudgementRow = [string, Finding, Finding['state'], RegExp?];

/** A test for each row; each bad state must say how to fix it. */
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
