/** Of a line plot. */
const panel = { width: 430, height: 300, left: 76, right: 16, top: 64, bottom: 52 };

const style = `
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 14px; font-weight: 600; }
  .background { fill: #ffffff; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .axis { stroke: #57606a; stroke-width: 1; }
  .line { fill: none; stroke-width: 2; }
  .s0 { stroke: #0969da; fill: #0969da; }
  .s1 { stroke: #1a7f37; fill: #1a7f37; }
  .s2 { stroke: #bc4c00; fill: #bc4c00; }
  .line.s0, .line.s1, .line.s2 { fill: none; }
  .peer { fill: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .background { fill: #0d1117; }
    .grid { stroke: #30363d; }
    .axis { stroke: #8b949e; }
    .s0 { stroke: #58a6ff; fill: #58a6ff; }
    .s1 { stroke: #3fb950; fill: #3fb950; }
    .s2 { stroke: #f0883e; fill: #f0883e; }
    .peer { fill: #484f58; }
  }`;

/**
 * Line plots side by side as one SVG for light and dark pages, with a logarithmic horizontal axis and a vertical one from 0.
 * @param {Panel[]} panels
 * @returns {string}
 *
 * @typedef {{ title: string, xLabel: string, yLabel: string, series: { name: string, points: [number, number][] }[] }} Panel
 *   at most three series, all of them with the same x, which are marked on the axis
 */
export function renderPlots(panels) {
  const width = panels.length * panel.width;
  const drawn = panels.map(
    (each, i) => `<g transform="translate(${i * panel.width} 0)">\n${renderPanel(each)}\n</g>`,
  );
  return wrap({ width, height: panel.height }, panels, drawn);
}

/** Of a bar chart: the names at the left, and the figures behind the bars, take a part of the width. */
const chart = { width: 430, left: 158, right: 66, top: 34, row: 22, bar: 15, bottom: 22 };

/**
 * Bar charts in two columns as one SVG for light and dark pages.
 * @param {BarChart[]} charts
 * @returns {string}
 *
 * @typedef {{ title: string, isLogarithmic?: boolean, bars: { name: string, value: number, isOwn: boolean }[] }} BarChart
 *   bars from 0, or from 1 where logarithmic
 */
export function renderBars(charts) {
  const rows = Math.ceil(charts.length / 2);
  const heights = Array.from({ length: rows }, (_, row) =>
    Math.max(...charts.slice(2 * row, 2 * row + 2).map(({ bars }) => bars.length)),
  ).map((bars) => chart.top + bars * chart.row + chart.bottom);
  const drawn = charts.map((each, i) => {
    const y = heights.slice(0, Math.floor(i / 2)).reduce((sum, height) => sum + height, 0);
    return `<g transform="translate(${(i % 2) * chart.width} ${y})">\n${renderChart(each)}\n</g>`;
  });
  const height = heights.reduce((sum, each) => sum + each, 0);
  return wrap({ width: 2 * chart.width, height }, charts, drawn);
}

function renderChart({ title, isLogarithmic = false, bars }) {
  const scale = isLogarithmic ? Math.log10 : (value) => value;
  const longest = Math.max(...bars.map(({ value }) => scale(value)));
  const room = chart.width - chart.left - chart.right;
  return [
    `<text x="${chart.left}" y="20" class="title">${escape(title)}</text>`,
    ...bars.flatMap(({ name, value, isOwn }, i) => {
      const y = chart.top + i * chart.row;
      const width = round((Math.max(0, scale(value)) / longest) * room);
      const shown = value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(2);
      return [
        `<text x="${chart.left - 8}" y="${y + 12}" text-anchor="end">${escape(name)}</text>`,
        `<rect class="${isOwn ? 's0' : 'peer'}" x="${chart.left}" y="${y}" width="${width}" height="${chart.bar}"/>`,
        `<text x="${chart.left + width + 6}" y="${y + 12}">${shown}</text>`,
      ];
    }),
  ].join('\n');
}

function wrap({ width, height }, parts, drawn) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escape(parts.map(({ title }) => title).join('; '))}</title>`,
    `<style>${style}\n</style>`,
    `<rect class="background" width="${width}" height="${height}"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

function renderPanel({ title, xLabel, yLabel, series }) {
  const right = panel.width - panel.right;
  const bottom = panel.height - panel.bottom;
  const xs = series[0].points.map(([x]) => x);
  const [first, last] = [Math.log10(xs[0]), Math.log10(xs.at(-1))];
  const atX = (x) =>
    round(panel.left + 12 + ((Math.log10(x) - first) / (last - first)) * (right - panel.left - 24));
  const yTicks = ticksUpTo(Math.max(...series.flatMap(({ points }) => points.map(([, y]) => y))));
  const atY = (y) => round(bottom - (y / yTicks.at(-1)) * (bottom - panel.top));
  const text = (x, y, anchor, content, more = '') =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}"${more}>${escape(content)}</text>`;
  return [
    text(panel.left, 20, 'start', title, ' class="title"'),
    ...series.flatMap(({ name }, i) => {
      const x = panel.left + i * 120;
      return [`<circle class="s${i}" cx="${x + 4}" cy="38" r="4"/>`, text(x + 14, 42, 'start', name)];
    }),
    ...yTicks.flatMap((y) => [
      `<line class="grid" x1="${panel.left}" x2="${right}" y1="${atY(y)}" y2="${atY(y)}"/>`,
      text(panel.left - 8, atY(y) + 4, 'end', y.toLocaleString('en')),
    ]),
    ...xs.flatMap((x) => [
      `<line class="axis" x1="${atX(x)}" x2="${atX(x)}" y1="${bottom}" y2="${bottom + 5}"/>`,
      text(atX(x), bottom + 18, 'middle', x.toLocaleString('en')),
    ]),
    `<line class="axis" x1="${panel.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    text((panel.left + right) / 2, panel.height - 12, 'middle', xLabel),
    text(0, 0, 'middle', yLabel, ` transform="translate(14 ${(panel.top + bottom) / 2}) rotate(-90)"`),
    ...series.flatMap(({ points }, i) => [
      `<polyline class="line s${i}" points="${points.map(([x, y]) => `${atX(x)},${atY(y)}`).join(' ')}"/>`,
      ...points.map(([x, y]) => `<circle class="s${i}" cx="${atX(x)}" cy="${atY(y)}" r="3.5"/>`),
    ]),
  ].join('\n');
}

/** Returns 0 and up to six round steps beyond the highest value. */
function ticksUpTo(highest) {
  const magnitude = 10 ** Math.floor(Math.log10(highest / 5));
  const step = [1, 2, 5, 10].map((each) => each * magnitude).find((each) => each * 6 >= highest);
  return Array.from({ length: Math.ceil(highest / step) + 1 }, (_, i) => i * step);
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function escape(text) {
  return text.replace(/[<>&]/g, (character) => `&#${character.charCodeAt(0)};`);
}
