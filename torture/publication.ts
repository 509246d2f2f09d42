import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../test/support/processes.ts';
import type { Finding } from './findings.ts';
import { renderFindings, renderTable } from './report.ts';
import type { PartResult } from './run-parts.ts';
import type { Form } from './trial.ts';

/** What a part did in the last run that was published. */
export type PublishedResult = PartResult & PublishedRun;

export type PublishedRun = {
  readonly form: Form;
  readonly seed: number;
  /** Of the machine, over the minute before the run. */
  readonly load: number;
  /** Of the program. */
  readonly version: string;
  /** In UTC, as in 2026-01-31. */
  readonly date: string;
  /** The machine and the programs, one line each. */
  readonly machine: readonly string[];
};

/** Holds results from run to run: a part that runs alone keeps the results of the others. */
export const resultsPath = path.join(root, 'torture/results.json');

/** Reads the published results. */
export const loadResults = (): PublishedResult[] =>
  existsSync(resultsPath) ? (JSON.parse(readFileSync(resultsPath, 'utf8')) as PublishedResult[]) : [];

/** Merges a run into the published results, in the order of `names`; drops parts that no longer exist. */
export function mergeResults(
  names: readonly string[],
  results: readonly PartResult[],
  run: PublishedRun,
): PublishedResult[] {
  const before = loadResults();
  return names.flatMap((name) => {
    const result = results.find((each) => each.name === name);
    const published = result ? { ...result, ...run } : before.find((each) => each.name === name);
    return published ? [published] : [];
  });
}

/** Renders the page `docs/torture.md`. */
export function renderPage(published: readonly PublishedResult[], findings: readonly Finding[]): string {
  const runs = published.map(({ name, form, seconds, seed, load, version, date }) =>
    ['', name, form, describeDuration(seconds), seed, load.toFixed(2), version, date, ''].join(' | ').trim(),
  );
  const machines = [...new Set(published.flatMap(({ machine }) => machine))];
  return `# Torture

<!-- Written by "npm run torture -- --write". -->

Results of attempts to break Tidegate. "Tried" and "survived" count the cases of each part's last published run; "found" and "fixed" count from the beginning. [torture/parts](../torture/parts) says what each part does. \`npm run torture\` repeats it in about half an hour on two cores; \`-- --help\` says how to run one part, or for hours.

${renderTable(published, findings)}

## The runs

| part | form | took | seed | load before | version | date |
| --- | --- | --: | --: | --: | --- | --- |
${runs.join('\n')}

A load above a quarter of the cores means that something else was running before the start. Clients, Tidegate and the registry share one machine.

${machines.map((line) => `- ${line}`).join('\n')}

## Figures

${published.flatMap(({ name, figures }) => figures.map((figure) => `- **${name}.** ${figure}`)).join('\n')}

## What was found

${renderFindings(published, findings)}
`;
}

/** Formats a duration in words; in whole minutes from two minutes on. */
export function describeDuration(seconds: number): string {
  return seconds < 120 ? `${Math.round(seconds)} seconds` : `${Math.round(seconds / 60)} minutes`;
}
