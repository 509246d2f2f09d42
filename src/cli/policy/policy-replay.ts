import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { describeReadError } from '../../system/files/file-status.ts';
import { readLogLines } from '../../telemetry/log/log-lines.ts';
import { parseLoggedRequest } from '../../telemetry/log/logged-request.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { describePrincipal } from '../../policy/policy-query.ts';
import { createReplay, type Replay, type ReplayReport, type ReplayRow } from '../../policy/replay.ts';
import { addConfigOptions } from '../config.ts';
import { addJobClaimsOption, readJobs } from './job-claims.ts';
import { loadPolicy, printLines, type LoadedPolicy } from './loaded-policy.ts';
import { findPlace } from './policy-warnings.ts';
import { readTokenGrants } from './token-grants.ts';

/** The counts of a log's lines. */
type Counts = { lines: number; requests: number; broken: number };

/** Adds `policy replay`. */
export function addPolicyReplayCommand(policy: Command): void {
  const replay = policy
    .command('replay')
    .description(
      'say which logged requests the rules would refuse or newly allow; exits with 1 when they would refuse one',
    )
    .argument(
      '<logs...>',
      'access logs in the format json or ecs, compressed with gzip or not; - for the standard input',
    );
  addJobClaimsOption(
    replay,
    'claims of an ID token, as JSON: requests of a job of that name are judged by them (may be repeated)',
  );
  addConfigOptions(replay).action(async (files: string[]) => {
    const loaded = await loadPolicy(replay);
    const { jobs, notes } = await readJobs(replay, loaded);
    const openPaths = new Set(loaded.config.auth.open);
    const grants = await readTokenGrants(loaded.config);
    const replayed = createReplay({ judge: loaded.judge, openPaths, grants, jobs });
    const counts: Counts = { lines: 0, requests: 0, broken: 0 };
    for (const file of files) await readLog(file, replayed, counts);
    const report = replayed.report();
    printLines([...notes, ...formatReport(loaded, report, counts)]);
    if (report.refused.requests > 0) process.exitCode = 1;
  });
}

async function readLog(file: string, replay: Replay, counts: Counts): Promise<void> {
  const source: Readable = file === '-' ? process.stdin : createReadStream(file);
  try {
    for await (const line of readLogLines(source)) {
      counts.lines += 1;
      const request = line === null ? 'broken' : parseLoggedRequest(line);
      if (request === 'broken') counts.broken += 1;
      else if (request !== 'other') {
        counts.requests += 1;
        replay.read(request);
      }
    }
  } catch (error) {
    throw new OperatorError(`The log ${file} cannot be read to its end: ${describeReadError(error)}.`);
  }
}

function formatReport(loaded: LoadedPolicy, report: ReplayReport, counts: Counts): string[] {
  const { judged, refused, allowed, lists, passedOver } = report;
  return [
    `requests: ${counts.requests}, in ${counts.lines} lines; the rules decide about ${judged} of them`,
    ...(counts.broken > 0 ? [`lines that are not of a log in the format json or ecs: ${counts.broken}`] : []),
    ...[...passedOver].map(([why, requests]) => `not judged: ${requests}, since ${why}`),
    ...(lists > 0 ? [`lists of repositories: ${lists}; users see in them only what they may pull`] : []),
    'The log has no queries, so mounts (from=) and tags in ?tag= cannot be judged,',
    'nor whether a tag existed when it was pushed.',
    ...formatRows('would be refused now', refused, loaded),
    ...formatRows('was refused and would pass now', allowed, loaded),
  ];
}

function formatRows(
  title: string,
  { requests, rows }: ReplayReport['refused'],
  loaded: LoadedPolicy,
): string[] {
  if (requests === 0) return [`${title}: nothing`];
  const nameDecision = ({ rule, tagPattern }: ReplayRow['by']): string =>
    tagPattern === null
      ? loaded.nameRule(rule)
      : `immutableTags (${findPlace(loaded, ['immutableTags', tagPattern - 1])})`;
  const listed = rows.reduce((sum, row) => sum + row.requests, 0);
  const cells = rows.map(({ principal, action, repository, by, requests: count }) =>
    [String(count), describePrincipal(principal), action, repository, nameDecision(by)].map(printable),
  );
  return [
    `${title}: ${requests}`,
    ...formatTable([['requests', 'who', 'what', 'where', 'by'], ...cells]),
    ...(listed < requests ? [`  and ${requests - listed} more requests, of too many kinds to list`] : []),
  ];
}

function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0),
  );
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  );
}
