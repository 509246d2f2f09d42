import { spawnSync } from 'node:child_process';

/**
 * For a test's `skip`: false when the program is there. Without it the test is skipped in plain sight,
 * or fails to load when CI=true, where nothing may be missing.
 */
export function unlessInstalled(...programs: string[]): string | false {
  const missing = programs.filter(
    (program) =>
      spawnSync('sh', ['-c', 'PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1"', 'sh', program])
        .status !== 0,
  );
  return unlessPossible(missing.length === 0, `not installed: ${missing.join(', ')}`);
}

/** The same for anything else that a machine may not allow. */
export function unlessPossible(possible: boolean, reason: string): string | false {
  if (possible) return false;
  if (process.env['CI'] === 'true') throw new Error(`needed for the tests: ${reason}`);
  return reason;
}
