// `npm run bench`: manifest pulls per second through Tidegate and through what else could stand there, on this machine.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  ensureBuild,
  ensureDebianPackages,
  ensureDependencies,
  ensureNode,
} from '../../src/quickstart/prepare.mjs';
import { run } from '../../src/quickstart/step.mjs';
import { pushImage } from './image.mjs';
import { connections, measure } from './load.mjs';
import { startServers } from './servers.mjs';

const usage = `Usage: npm run bench [-- [--quick] [--no-install]]
  --quick        2 seconds a measurement instead of 8: under 3 minutes in all
  --no-install   install no Debian packages`;

/** Real programs that are measured or measure, and the Debian packages they come from. */
const programs = [
  { program: 'wrk', package: 'wrk' },
  { program: 'nginx', package: 'nginx' },
  { program: 'caddy', package: 'caddy' },
  { program: 'redis-server', package: 'redis-server' },
  { program: 'docker-registry', package: 'docker-registry' },
  { program: 'htpasswd', package: 'apache2-utils' },
];
const rounds = 5;
/** The least for a server of a handful of answers a second. */
const slowSeconds = 4;
const kinds = /** @type {const} */ (['digest', 'tag']);

const args = process.argv.slice(2);
if (args.includes('--help')) {
  console.log(usage);
  process.exit(0);
}
const unknown = args.filter((arg) => !['--quick', '--no-install'].includes(arg));
if (unknown.length > 0) {
  console.error(`Unknown argument ${unknown.join(', ')}.\n${usage}`);
  process.exit(2);
}
const seconds = args.includes('--quick') ? 2 : 8;

ensureNode();
await ensureDependencies();
const missing = await ensureDebianPackages(programs, { install: !args.includes('--no-install') });
if (missing.length > 0) process.exit(1);
await ensureBuild();
process.exitCode = await bench();

async function bench() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-bench-'));
  const interrupted = new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.once(signal, () => reject(new Error(`ended by ${signal}`)));
    }
  });
  interrupted.catch(() => {}); // it is awaited only while something can be cut short
  const load = os.loadavg()[0];
  let servers;
  try {
    servers = await startServers(dir);
    const manifest = await pushImage(servers.registryUrl);
    const results = await Promise.race([measureAll(servers, manifest), interrupted]);
    await printMachine(manifest, load);
    printTable(servers.subjects, results);
    return 0;
  } catch (error) {
    console.error(`\nThe benchmark failed: ${error.message}`);
    return 1;
  } finally {
    await servers?.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * Gives requests per second by subject, kind and round, and which part of them were hits. Subjects take turns, each round beginning with another one, so that
 * whatever else the machine does falls on all alike.
 */
async function measureAll({ subjects, authorization, ca }, manifest) {
  const results = new Map(subjects.map((subject) => [subject, { digest: [], tag: [], hits: [] }]));
  const measureOne = async (subject, kind) => {
    const options = { path: manifest.paths[kind], authorization, ca, manifest };
    const forSeconds = subject.isSlow ? Math.max(seconds, slowSeconds) : seconds;
    results.get(subject)[kind].push(await measure(subject, { ...options, seconds: forSeconds }));
    results.get(subject).hits.push(subject.takeHits());
    // Otherwise it would be busy while the next one is measured.
    if (subject.isSlow) await subject.restart();
  };
  for (let round = 0; round < rounds; round += 1) {
    console.log(`Round ${round + 1} of ${rounds} …`);
    for (let i = 0; i < subjects.length; i += 1) {
      const subject = subjects[(i + round) % subjects.length];
      for (const kind of subject.isSlow ? ['digest'] : kinds) await measureOne(subject, kind);
    }
  }
  return results;
}

async function printMachine(manifest, load) {
  const versions = await Promise.all(
    programs.map(async ({ program, package: name }) => {
      // Of a program that does not come from a package, only the name.
      const version = await run('dpkg-query', ['-W', '-f', '${Version}', name]).catch(() => '');
      return `${program} ${version}`.trim();
    }),
  );
  const cpus = os.cpus();
  console.log(`
Manifest GETs per second over TLS, ${connections} keep-alive connections, each with name and password and an Accept header;
a manifest of ${manifest.body.length} bytes; medians of ${rounds} rounds of ${seconds} s (least and most); wrk runs on the same machine.
Machine: ${cpus.length} cores, ${cpus[0]?.model.trim() ?? 'unknown'}, ${os.type()} ${os.release()}; node ${process.versions.node}; ${versions.join(', ')}
Load before the start: ${load.toFixed(2)}${load > cpus.length / 4 ? ': THE MACHINE WAS BUSY, these figures are provisional' : ''}
`);
}

/** Ratios are to the first subject, round by round: what disturbed a whole round is not in them. */
function printTable(subjects, results) {
  const [bound] = subjects;
  const cell = (subject, kind) => {
    const values = results.get(subject)[kind];
    if (values.length === 0) return ['–', '–'];
    const bounds = results.get(bound)[kind];
    const ratio = median(values.map((value, round) => value / bounds[round]));
    const [least, middle, most] = [Math.min(...values), median(values), Math.max(...values)].map(Math.round);
    return [`${middle} (${least}–${most})`, ratio.toFixed(ratio < 0.01 ? 4 : 2)];
  };
  /** The least of all measurements: one that was not answered from the cache is not a measurement of the cache. */
  const hits = (subject) => {
    const parts = results.get(subject).hits.filter((part) => part !== null);
    return parts.length === 0 ? '–' : `${(Math.min(...parts) * 100).toFixed(1)} %`;
  };
  const rows = [
    ['Front door', 'Passwords', 'By digest', 'Ratio', 'By tag', 'Ratio', 'Hits'],
    ...subjects.map((subject) => [
      subject.name,
      subject.passwords,
      ...kinds.flatMap((kind) => cell(subject, kind)),
      hits(subject),
    ]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  console.log([line(rows[0]), rule, ...rows.slice(1).map(line)].join('\n'));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
