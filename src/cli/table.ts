import { printable } from '../telemetry/log/printable.ts';

/** Formats rows of cells as lines, each column as wide as its widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const texts = rows.map((row) => row.map(printable));
  const widths = (texts[0] ?? []).map((_, column) =>
    texts.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0),
  );
  return texts.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
