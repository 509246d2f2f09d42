import { spawnSync } from 'node:child_process';

/**
 * For a test's `skip`: false if the program is installed. Else the test is skipped with a reason,
 * or fails to load with CI=true, where no program may be missing.
 */
export function unlessInstalled(...programs: string[]): string | false {
  const missing = programs.filter(
    (program) =>
      spawnSync('sh', ['-c', 'PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1"', 'sh', program])
        .status !== 0,
  );
  return unlessPossible(missing.length === 0, `not installed: ${missing.join(', ')}`);
}

/** The same for anything else that a machine may lack. */
export function unlessPossible(possible: boolean, reason: string): string | false {
  if (possible) return false;
  if (process.env['CI'] === 'true') throw new Error(`needed for the tests: ${reason}`);
  return reason;
}
