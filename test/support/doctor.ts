import assert from 'node:assert/strict';
import type { Finding } from '../../src/doctor/finding.ts';
import { password, user } from './front-door.ts';
import { tidegate } from './processes.ts';

/** The output of `tidegate doctor --json`. */
export type DoctorRun = {
  readonly code: number | null;
  readonly url: string | null;
  readonly findings: readonly Finding[];
  /** The warnings and failures, as `check: state`. */
  readonly problems: readonly string[];
  readonly find: (check: string) => Finding;
};

/** Runs `tidegate doctor --json`. Fails unless it prints only JSON, without the password. */
export async function runDoctor(
  args: readonly string[],
  { login = true, cwd }: { readonly login?: boolean; readonly cwd?: string } = {},
): Promise<DoctorRun> {
  const loginArgs = login ? ['--user', user, '--password-stdin'] : [];
  const { code, stdout, stderr } = await tidegate(['doctor', '--json', ...args, ...loginArgs], {
    input: login ? `${password}\n` : '',
    timeoutMs: 60_000,
    ...(cwd === undefined ? {} : { cwd }),
  });
  assert.equal(stderr, '');
  assert.ok(!stdout.includes(password), 'the password is printed');
  const { url, client, operator } = JSON.parse(stdout) as {
    url: string | null;
    client: Finding[];
    operator: Finding[];
  };
  const findings = [...client, ...operator];
  assert.equal(code, findings.some(({ state }) => state === 'broken') ? 1 : 0);
  const problems = findings
    .filter(({ state }) => state === 'warning' || state === 'broken')
    // The disk of the test machine may be full.
    .filter(({ check }) => check !== 'storage.space')
    .map(({ check, state }) => `${check}: ${state}`);
  for (const { state, what, fix: mend } of findings) {
    assert.match(what, /^\S.*\.$/s, `a sentence: ${what}`);
    if (state === 'warning' || state === 'broken') assert.ok(mend !== null && mend !== '', what);
  }
  const find = (check: string) => {
    const finding = findings.find((other) => other.check === check);
    assert.ok(finding, `there is no finding ${check}`);
    return finding;
  };
  return { code, url, findings, problems, find };
}

/** Settings for which the test machine gives no findings. */
export const quietSettings: readonly string[] = ['workers=1', 'limits.connections=1000', 'admin.port='];

/** Returns `--set` for each of the settings. */
export function asFlags(settings: readonly string[]): string[] {
  return settings.flatMap((setting) => ['--set', setting]);
}
