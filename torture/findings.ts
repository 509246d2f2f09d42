import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../test/support/processes.ts';

/** What a trial has found in the program at one time, and what became of it. */
export type Finding = {
  /** The name of the part that found it. */
  readonly part: string;
  readonly found: string;
  /** Null: it stands. */
  readonly mended: string | null;
  /** Of the mend. */
  readonly commit?: string;
};

/**
 * Reads `findings.json`, to which each finding is added by hand when it is mended, or when it is decided that it stands.
 * @throws Error when an entry is not of the form.
 */
export function loadFindings(): Finding[] {
  const findings = JSON.parse(readFileSync(path.join(root, 'torture/findings.json'), 'utf8')) as Finding[];
  for (const finding of findings) {
    const { part, found, mended, commit } = finding;
    const isText = (value: unknown) => typeof value === 'string' && value !== '';
    const isValid =
      isText(part) &&
      isText(found) &&
      (mended === null || isText(mended)) &&
      (commit === undefined || isText(commit));
    if (!isValid) throw new Error(`torture/findings.json: not a finding: ${JSON.stringify(finding)}`);
  }
  return findings;
}
