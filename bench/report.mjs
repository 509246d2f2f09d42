import { digits } from './statistics.mjs';

/**
 * The results of a scenario.
 * @typedef {{ title: string, notes: string[], tables: Table[], targets: Target[], raw: unknown,
 *   plots?: { file: string, title: string, svg: string }[] }} Section
 * @typedef {{ head: string[], rows: string[][] }} Table
 * @typedef {{ what: string, limit: string, value: string }} Target
 */

/** @returns {Target} */
export function atLeast(what, value, limit, unit = '') {
  return { what, limit: `≥ ${limit}${unit}`, value: `${digits(value)}${unit}` };
}

/** @returns {Target} */
export function atMost(what, value, limit, unit = '') {
  return { what, limit: `≤ ${limit}${unit}`, value: `${digits(value)}${unit}` };
}

/**
 * Renders all sections as Markdown, with a table of the targets first.
 * @param {{ machine: string[], sections: Section[] }} report
 */
export function renderReport({ machine, sections }) {
  const targets = sections.flatMap((section) => section.targets);
  const summary = {
    head: ['What', 'Target', 'Measured'],
    rows: targets.map(({ what, limit, value }) => [what, limit, value]),
  };
  return [
    ...machine.map((line) => `- ${line}`),
    '',
    ...(targets.length === 0 ? [] : ['## Targets', '', renderTable(summary), '']),
    ...sections.flatMap(({ title, notes, tables }) => [
      `## ${title}`,
      '',
      ...tables.flatMap((table) => [renderTable(table), '']),
      ...notes.map((note) => `- ${note}`),
      ...(notes.length === 0 ? [] : ['']),
    ]),
  ].join('\n');
}

/** @param {Table} table */
function renderTable({ head, rows }) {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(3, ...all.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
