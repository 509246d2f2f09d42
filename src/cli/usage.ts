import { InvalidArgumentError, type Command } from 'commander';
import { parseRepository } from '../policy/policy-query.ts';
import { loadConfig } from '../config/load/load.ts';
import { OperatorError } from '../system/operator-error.ts';
import { askUsage, type UsageReport } from '../usage/usage-client.ts';
import type { LastUse, UsageRow } from '../usage/usage-file.ts';
import type { UsageQuestion } from '../usage/usage-question.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';
import { printable } from '../telemetry/log/printable.ts';
import { wrapLine } from '../telemetry/log/wrap.ts';
import { formatTable } from './table.ts';

type RowQuestion = Extract<UsageQuestion, { ask: 'repositories' | 'references' }>;
type Report = UsageReport<RowQuestion>;

/** Adds `usage`: what was pulled and pushed when, and by whom. */
export function addUsageCommand(program: Command): void {
  const command = program
    .command('usage')
    .description(
      'show when each repository was last pulled and pushed, by whom and how often; with a repository, its tags and digests',
    )
    .argument('[repository]', 'name of a repository', parseName)
    .option('--json', 'print JSON');
  addConfigOptions(command).action(async (repository: string | undefined) => {
    const { json } = command.opts<{ json?: true }>();
    const { state } = (await loadConfig(readConfigOptions(command))).config;
    const question: RowQuestion =
      repository === undefined ? { ask: 'repositories' } : { ask: 'references', repository };
    const report = await askUsage(state.dir, question);
    if (report === null)
      throw new OperatorError(
        state.usage
          ? `There is no record in ${state.dir}: nothing was pulled or pushed yet, or the service has another state.dir.`
          : 'Nothing is recorded: state.usage is false.',
      );
    if (repository !== undefined && report.rows.length === 0)
      throw new OperatorError(
        `No pull or push of ${repository} is recorded since ${formatTime(report.since)}: tidegate usage lists what is.`,
      );
    const { isTTY, columns } = process.stdout;
    const width = isTTY ? Math.max(minWidth, columns) : Infinity;
    process.stdout.write(json ? formatJson(report, repository) : formatText(report, repository, width));
  });
}

/** Narrower terminals break lines, in columns. */
const minWidth = 80;

function parseName(name: string): string {
  try {
    return parseRepository(name);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InvalidArgumentError(error.message);
  }
}

/** @param width of the terminal: a table that is wider becomes a paragraph for each row */
function formatText(
  { asOf, since, isRunning, rows }: Report,
  repository: string | undefined,
  width: number,
): string {
  const heads = ['last pull', 'by', 'pulls', 'last push', 'by', 'pushes'];
  const cells = (row: UsageRow) => [row.pulls, row.pushes].flatMap(describeUse);
  const name = repository === undefined ? 'repository' : 'tag or digest';
  const named = repository === undefined ? rows : sortReferences(rows);
  const table =
    repository === undefined
      ? [[name, ...heads], ...named.map((row) => [row.name, ...cells(row)])]
      : [
          [name, 'digest', ...heads],
          ...named.map((row) => [shorten(row.name) || '(all)', shorten(row.digest ?? '-'), ...cells(row)]),
        ];
  const lines = formatTable(table);
  const isWide = lines.some(({ length }) => length > width);
  const source = isRunning ? '' : ', from the file: no Tidegate is running';
  return [
    `As of ${formatTime(asOf)}${source}.`,
    `Complete since ${formatTime(since)}; earlier uses may be missing.`,
    ...(rows.length === 0
      ? ['Nothing was pulled or pushed since.']
      : isWide
        ? named.flatMap((row) => describeRow(row).flatMap((line) => wrapLine(line, width)))
        : lines),
    '',
  ].join('\n');
}

/** The whole repository, then the tags, the latest first, then the digests. */
function sortReferences(rows: readonly UsageRow[]): UsageRow[] {
  const rank = ({ name }: UsageRow) => (name === '' ? 0 : name.includes(':') ? 2 : 1);
  const latest = ({ pulls, pushes }: UsageRow) => Math.max(pulls.at ?? 0, pushes.at ?? 0);
  return rows.toSorted((one, other) => rank(one) - rank(other) || latest(other) - latest(one));
}

function describeRow({ name, digest, pulls, pushes }: UsageRow): string[] {
  const say = (what: string, { at, by, count }: LastUse) =>
    `  ${count} ${what}${count === 1 ? '' : what.endsWith('h') ? 'es' : 's'}${
      at === null ? '' : `, the last ${formatTime(at)}${by === null ? '' : ` by ${printable(by)}`}`
    }`;
  const head = [shorten(name) || '(all)', ...(digest ? [shorten(digest)] : [])];
  return [head.map(printable).join('  '), say('pull', pulls), say('push', pushes)];
}

function describeUse({ at, by, count }: LastUse): string[] {
  return at === null ? ['-', '-', '0'] : [formatTime(at), by ?? '-', String(count)];
}

/** Gives the beginning of a digest, enough to tell two apart; a tag, which has no colon, stays. */
function shorten(name: string): string {
  return /^[^:]*:.{12}/.exec(name)?.[0] ?? name;
}

/** To the minute, in UTC. */
function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}

function formatJson({ asOf, since, isRunning, rows }: Report, repository: string | undefined): string {
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const uses = ({ pulls, pushes }: UsageRow) => ({
    lastPull: pulls.at === null ? null : { at: time(pulls.at), by: pulls.by },
    pulls: pulls.count,
    lastPush: pushes.at === null ? null : { at: time(pushes.at), by: pushes.by },
    pushes: pushes.count,
  });
  const head = { asOf: time(asOf), since: time(since), isRunning };
  const [whole] = rows.filter(({ name }) => name === '');
  const value =
    repository === undefined
      ? { ...head, repositories: rows.map((row) => ({ repository: row.name, ...uses(row) })) }
      : {
          ...head,
          ...{ repository, ...(whole === undefined ? {} : uses(whole)) },
          tags: sortReferences(rows)
            .filter(({ name }) => name !== '' && !name.includes(':'))
            .map((row) => ({ tag: row.name, digest: row.digest, ...uses(row) })),
          digests: sortReferences(rows)
            .filter(({ name }) => name.includes(':'))
            .map((row) => ({ digest: row.name, ...uses(row) })),
        };
  return `${JSON.stringify(value, null, 2)}\n`;
}
