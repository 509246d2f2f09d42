import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { isJobUser, parseExpectations, type PolicyExpectation } from './expectation.ts';
import { readJobClaims } from './job-claims.ts';
import { formatProblem } from '../../config/load/problem.ts';
import { describeReadError } from '../../system/files/file-status.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { addConfigOptions } from '../config.ts';
import { grantToken } from '../../policy/policy-query.ts';
import { loadPolicy, printLines, type LoadedPolicy } from './loaded-policy.ts';
import { readTokenGrants } from './token-grants.ts';

/** Adds `policy test`. */
export function addPolicyTestCommand(policy: Command): void {
  const test = policy
    .command('test')
    .description('compare the rules with a table of expectations; exits with 1 when one is not met')
    .argument('<file>', 'YAML: a list of { user, address, action, repository, tag, allowed, claims }')
    .option(
      '--oidc-claims <file>',
      'claims of an ID token, as JSON: the job in rows whose user is oidc, unless they have claims of their own',
    );
  addConfigOptions(test).action(async (file: string) => {
    const rows = await loadExpectations(file);
    const loaded = await loadPolicy(test);
    const { oidcClaims } = test.opts<{ oidcClaims?: string }>();
    const findJob = createJobFinder(loaded, dirname(file), oidcClaims ?? null);
    const grants = await readTokenGrants(loaded.config);
    const failures: string[] = [];
    const notes = new Set<string>();
    for (const row of rows) {
      const { address } = row;
      const found = await findJob(row);
      for (const note of found?.notes ?? []) notes.add(note);
      const named =
        address === null ? grantToken(row.principal, grants) : loaded.judge.policy.anonymousAt(address);
      failures.push(...describeFailure(loaded, { ...row, principal: found?.job ?? named }));
    }
    const summary =
      failures.length === 0
        ? `ok: ${rows.length} of ${rows.length} expectations are met`
        : `${failures.length} of ${rows.length} expectations are not met`;
    printLines([...failures, ...notes, summary]);
    if (failures.length > 0) process.exitCode = 1;
  });
}

/** Finds the job that a row means, each file read once; `base` is where a row's files are. */
function createJobFinder({ config }: LoadedPolicy, base: string, ofAll: string | null) {
  const known = new Map<string, ReturnType<typeof readJobClaims>>();
  return (row: PolicyExpectation): ReturnType<typeof readJobClaims> | null => {
    const common = isJobUser(row.principal) ? ofAll : null;
    const file = row.claims === null ? common : resolve(base, row.claims);
    if (file === null) return null;
    const read = known.get(file) ?? readJobClaims(file, config);
    known.set(file, read);
    return read;
  };
}

function describeFailure({ judge, nameRule }: LoadedPolicy, row: PolicyExpectation): string[] {
  const { allowed, rule, sentence } = judge.judge(row);
  if (allowed === row.allowed) return [];
  const [wanted, found] = row.allowed ? ['allowed', 'denied'] : ['denied', 'allowed'];
  return [`${row.place}: is ${found} and should be ${wanted}: ${sentence}; ${nameRule(rule)} decides`];
}

async function loadExpectations(file: string): Promise<readonly PolicyExpectation[]> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (error) {
    const reason = error instanceof TypeError ? 'it is not UTF-8 text' : describeReadError(error);
    throw new OperatorError(`The table ${file} cannot be used: ${reason}.`);
  }
  const { rows, problems } = parseExpectations(text, file);
  if (problems.length > 0) throw new OperatorError(printableLines(problems.map(formatProblem)));
  return rows;
}

function printableLines(lines: readonly string[]): string {
  return lines.map(printable).join('\n');
}
