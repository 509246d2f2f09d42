import type { Diagnosis } from './doctor.ts';
import type { Finding, FindingState } from './finding.ts';

const states: readonly FindingState[] = ['ok', 'warning', 'broken', 'skipped'];
const stateWidth = 7;
/** Green, yellow, red, grey (ECMA-48, "Select graphic rendition"). */
const colours: Readonly<Record<FindingState, number>> = { ok: 32, warning: 33, broken: 31, skipped: 90 };

/** Renders findings for people: a line each in columns, with the fix below. @returns lines, the last one ended. */
export function formatReport({ url, client, operator }: Diagnosis, isColoured: boolean): string {
  const all = [...client, ...operator];
  const width = Math.max(...all.map(({ check }) => check.length));
  const section = (title: string, findings: readonly Finding[]) => [
    title,
    ...findings.flatMap((finding) => formatFinding(finding, width, isColoured)),
    '',
  ];
  const counts = countStates(all);
  const summary = states.filter((state) => counts[state] > 0).map((state) => `${counts[state]} ${state}`);
  return [
    ...section(`As a client: ${url ?? 'nothing to look at'}`, client),
    ...section('As an operator, on this machine', operator),
    summary.join(', '),
    '',
  ].join('\n');
}

/** Renders findings for programs, as one JSON document. @returns one line, ended. */
export function formatJsonReport({ url, client, operator }: Diagnosis): string {
  const counts = countStates([...client, ...operator]);
  // Programs that read `fix` by its older name keep working.
  const withOldName = (findings: readonly Finding[]) => findings.map((each) => ({ ...each, mend: each.fix }));
  const sections = { client: withOldName(client), operator: withOldName(operator) };
  return `${JSON.stringify({ url, ...sections, summary: counts })}\n`;
}

/** Whether something is broken. */
export function isAnyBroken({ client, operator }: Diagnosis): boolean {
  return [...client, ...operator].some(({ state }) => state === 'broken');
}

function countStates(findings: readonly Finding[]): Record<FindingState, number> {
  const counts = { ok: 0, warning: 0, broken: 0, skipped: 0 };
  for (const { state } of findings) counts[state] += 1;
  return counts;
}

function formatFinding({ check, state, what, fix }: Finding, width: number, isColoured: boolean): string[] {
  const padded = state.padEnd(stateWidth);
  const shown = isColoured ? `\u001B[${colours[state]}m${padded}\u001B[0m` : padded;
  const lines = [`  ${shown}  ${check.padEnd(width)}  ${printable(what)}`];
  if (fix !== null) lines.push(`${' '.repeat(stateWidth + width + 6)}→ ${printable(fix)}`);
  return lines;
}

/** Sentences contain text of servers and files: none of their escape sequences may reach the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '\uFFFD');
}
