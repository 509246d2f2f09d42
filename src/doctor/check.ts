import { setMaxListeners } from 'node:events';
import { describeFailure } from './failure.ts';
import { broken, skipped, type Finding } from './finding.ts';
import { createTimeLimit } from '../system/time-limit.ts';

/** A check, which takes a bounded time. */
export type Check = {
  /** The ids of its findings, in order. */
  readonly ids: readonly [string, ...string[]];
  readonly limitMs: number;
  /** The fix for unforeseen failures. */
  readonly fix: string;
  /** Closes what it has opened when the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<readonly Finding[]>;
};

/**
 * Runs checks in order, those of a group at once. One that takes too long is broken, and those after the deadline are
 * skipped.
 */
export async function runChecks(
  checks: readonly (Check | readonly Check[])[],
  { deadline, onStart }: { readonly deadline: AbortSignal; readonly onStart: (id: string) => void },
): Promise<Finding[]> {
  setMaxListeners(0, deadline); // each check of a group listens to it
  const findings: Finding[] = [];
  for (const each of checks) {
    const group = 'run' in each ? [each] : each;
    const running = group.map((check): Promise<readonly Finding[]> => {
      if (deadline.aborted) return Promise.resolve(skipAll(check.ids, 'There was no time left to run it.'));
      onStart(check.ids[0]);
      return runCheck(check, deadline);
    });
    findings.push(...(await Promise.all(running)).flat());
  }
  return findings;
}

/** Skips all findings of a check, with the same reason. */
export function skipAll(ids: readonly string[], why: string, fix: string | null = null): Finding[] {
  return ids.map((id) => skipped(id, why, fix));
}

/** Turns a failure into a finding. */
export async function attempt(check: string, fix: string, act: () => Promise<Finding>): Promise<Finding> {
  try {
    return await act();
  } catch (error) {
    return broken(check, `It failed: ${describeFailure(error)}.`, fix);
  }
}

async function runCheck(
  { ids, limitMs, fix, run }: Check,
  deadline: AbortSignal,
): Promise<readonly Finding[]> {
  const { signal, end } = createTimeLimit(deadline, limitMs);
  const startedMs = performance.now();
  const fail = (what: string) => [broken(ids[0], what, fix), ...skipAll(ids.slice(1), 'It was not run.')];
  const late = new Promise<readonly Finding[]>((resolve) => {
    signal.addEventListener('abort', () => {
      const seconds = Math.round((performance.now() - startedMs) / 1000);
      resolve(fail(`It did not end within ${seconds} s.`));
    });
  });
  const done = run(signal).catch((error: unknown) =>
    signal.aborted ? late : fail(`It failed: ${describeFailure(error)}.`),
  );
  try {
    return await Promise.race([done, late]);
  } finally {
    end(); // and closes what the check has left open
  }
}
