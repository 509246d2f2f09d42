import type { Finding } from './findings.ts';
import type { PartResult } from './run-parts.ts';

/** The table of a run as Markdown: what was tried and survived in it, and what has been found and fixed so far. */
export function renderTable(results: readonly PartResult[], findings: readonly Finding[]): string {
  const counts = results.map(({ name, tried, survived, broke }) => {
    const known = findings.filter(({ part }) => part === name);
    const mended = known.filter((finding) => finding.mended !== null).length;
    return { name, numbers: [tried, survived, known.length + broke.length, mended] };
  });
  const sums = [0, 1, 2, 3].map((column) =>
    counts.reduce((sum, { numbers }) => sum + (numbers[column] ?? 0), 0),
  );
  const rows = [
    ['part', 'tried', 'survived', 'found', 'fixed'],
    ...[...counts, { name: 'in all', numbers: sums }].map(({ name, numbers }) => [
      name,
      ...numbers.map((number) => number.toLocaleString('en')),
    ]),
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => {
    const cells = row.map((text, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? text.padEnd(width) : text.padStart(width);
    });
    return `| ${cells.join(' | ')} |`;
  });
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [lines[0], `| ${rule.join(' | ')} |`, ...lines.slice(1)].join('\n');
}

/** What has been found so far as a list in Markdown, and what broke in this run. */
export function renderFindings(results: readonly PartResult[], findings: readonly Finding[]): string {
  const known = findings.map(({ part, found, mended, commit }) => {
    const fate =
      mended === null ? 'Stands.' : `Fixed: ${mended}${commit === undefined ? '' : ` (${commit})`}`;
    return `- **${part}.** ${found} ${fate}`;
  });
  const open = results.flatMap(({ name, broke }) =>
    broke.map((sentence) => `- **${name}.** Broke in this run: ${sentence}`),
  );
  return [...open, ...known].join('\n');
}
