import type { Finding } from './findings.ts';
import type { PartResult } from './run-parts.ts';

/** Renders a run as a Markdown table: cases tried and survived, and faults found and fixed so far. */
export function renderTable(results: readonly PartResult[], findings: readonly Finding[]): string {
  const counts = results.map(({ name, tried, survived, broke }) => {
    const known = findings.filter(({ part }) => part === name);
    const fixed = known.filter((finding) => finding.fixed !== null).length;
    return { name, numbers: [tried, survived, known.length + broke.length, fixed] };
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

/** Renders all findings, and what broke in this run, as a Markdown list. */
export function renderFindings(results: readonly PartResult[], findings: readonly Finding[]): string {
  const known = findings.map(({ part, found, fixed, commit }) => {
    const fate =
      fixed === null ? 'Not fixed.' : `Fixed: ${fixed}${commit === undefined ? '' : ` (${commit})`}`;
    return `- **${part}.** ${found} ${fate}`;
  });
  const open = results.flatMap(({ name, broke }) =>
    broke.map((sentence) => `- **${name}.** Broke in this run: ${sentence}`),
  );
  return [...open, ...known].join('\n');
}
