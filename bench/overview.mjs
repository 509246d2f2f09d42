import { median } from './statistics.mjs';
import { renderBars } from './svg-plot.mjs';

/** @type {readonly (readonly [key: string, name: string])[]} */
const transferred = [
  ['tidegate', 'Tidegate'],
  ['tidegate-storage', 'Tidegate, from files'],
  ['nginx', 'nginx'],
  ['caddy', 'Caddy'],
  ['haproxy', 'HAProxy'],
  ['registry-tls', 'the registry alone'],
];
/** @type {typeof transferred} */
const asked = [
  ['tidegate', 'Tidegate'],
  ['tidegate-redis', 'Tidegate, Redis'],
  ['tidegate-off', 'Tidegate, cache off'],
  ['nginx-plain', 'nginx, plain passwords'],
  ['nginx', 'nginx'],
  ['caddy', 'Caddy'],
  ['haproxy-plain', 'HAProxy, plain pass.'],
];

/**
 * The front doors at a glance; null where not all that takes has been measured.
 * @param {readonly { name: string, raw: any }[]} sections
 * @returns {{ file: string, title: string, svg: string } | null}
 */
export function drawOverview(sections) {
  const raw = (name) => sections.find((section) => section.name === name)?.raw;
  const [downloads, uploads, manifests] = ['downloads', 'uploads', 'manifests'].map(raw);
  if (!downloads || !uploads || !manifests) return null;
  const bars = (names, results, what) =>
    names
      .filter(([key]) => results[key] !== undefined)
      .map(([key, name]) => ({
        name,
        value: median(results[key].map((each) => each[what])),
        isOwn: key.startsWith('tidegate'),
      }));
  const charts = [
    { title: 'Download, 4 at once: MiB/s', bars: bars(transferred, downloads.four, 'speed') },
    { title: '… CPU-seconds per GiB', bars: bars(transferred, downloads.four, 'cpu') },
    { title: 'Upload: MiB/s', bars: bars(transferred, uploads, 'speed') },
    { title: '… CPU-seconds per GiB', bars: bars(transferred, uploads, 'cpu') },
    {
      title: 'Manifests a second, logarithmic',
      isLogarithmic: true,
      bars: bars(asked, manifests, 'digest'),
    },
  ];
  return { file: 'overview.svg', title: 'The front doors at a glance', svg: renderBars(charts) };
}
