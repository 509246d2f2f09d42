import type { MetricFamily, MetricValue } from './metric-family.ts';

/** The answer to a scrape. */
export type Exposition = { readonly contentType: string; readonly text: string };

const contentType = 'text/plain; version=0.0.4; charset=utf-8';

/** Merges the reports of several processes, and writes them in Prometheus' text format 0.0.4. */
export function formatExposition(reports: readonly (readonly MetricFamily[])[]): Exposition {
  const families = new Map<string, MetricFamily[]>();
  for (const family of reports.flat())
    families.set(family.name, [...(families.get(family.name) ?? []), family]);
  return { contentType, text: `${[...families.values()].map(formatFamily).join('\n\n')}\n` };
}

const aggregators: Readonly<Record<MetricFamily['aggregator'], (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  max: Math.max,
  min: Math.min,
};

/** Writes one family of all processes: its header, and a line per set of labels. */
function formatFamily(parts: readonly MetricFamily[]): string {
  const [first] = parts;
  if (first === undefined) return '';
  const { name, help, type, aggregator } = first;
  const merged = new Map<string, number>();
  for (const value of parts.flatMap(({ values }) => values)) {
    const series = formatSeries(name, value);
    const known = merged.get(series);
    merged.set(series, known === undefined ? value.value : aggregators[aggregator](known, value.value));
  }
  return [
    `# HELP ${name} ${escapeText(help)}`,
    `# TYPE ${name} ${type}`,
    ...[...merged].map(([series, value]) => `${series} ${formatNumber(value)}`),
  ].join('\n');
}

function formatSeries(name: string, { metricName = name, labels }: MetricValue): string {
  const shown = Object.entries(labels).map(
    ([label, value]) => `${label}="${escapeText(String(value)).replaceAll('"', String.raw`\"`)}"`,
  );
  return shown.length === 0 ? metricName : `${metricName}{${shown.join(',')}}`;
}

/** Escapes a text for a HELP line; a label's value also needs its quotes escaped. */
function escapeText(text: string): string {
  return text.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`);
}

function formatNumber(value: number): string {
  return Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? '+Inf' : '-Inf';
}
