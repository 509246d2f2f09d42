import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../test/support/processes.ts';

/** A fault that a trial has found, and its fix. */
export type Finding = {
  /** The name of the part that found it. */
  readonly part: string;
  readonly found: string;
  /** Null: it is not fixed. */
  readonly fixed: string | null;
  /** Of the fix. */
  readonly commit?: string;
};

/**
 * Reads `findings.json`. Each finding is added by hand when it is fixed, or when it is decided not to fix it.
 * @throws Error when an entry is not of the form.
 */
export function loadFindings(): Finding[] {
  const findings = JSON.parse(readFileSync(path.join(root, 'torture/findings.json'), 'utf8')) as Finding[];
  for (const finding of findings) {
    const { part, found, fixed, commit } = finding;
    const isText = (value: unknown) => typeof value === 'string' && value !== '';
    const isValid =
      isText(part) &&
      isText(found) &&
      (fixed === null || isText(fixed)) &&
      (commit === undefined || isText(commit));
    if (!isValid) throw new Error(`torture/findings.json: not a finding: ${JSON.stringify(finding)}`);
  }
  return findings;
}
