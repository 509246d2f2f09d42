// `npm run bench`: what a registry's clients do, through Tidegate and through what else could stand there, on this machine.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  ensureBuild,
  ensureDebianPackages,
  ensureDependencies,
  ensureNode,
  root,
} from '../src/quickstart/prepare.mjs';
import { parseArguments } from './arguments.mjs';
import { describeMachine } from './machine.mjs';
import { renderReport } from './report.mjs';
import { openRig } from './rig.mjs';
import { describeRounds } from './statistics.mjs';
import { measureCleanRunning } from './scenarios/clean-running.mjs';
import { measureCleanScan } from './scenarios/clean-scan.mjs';
import { measureCopies } from './scenarios/copies.mjs';
import { measureDownloads } from './scenarios/downloads.mjs';
import { measureFlood } from './scenarios/flood.mjs';
import { measureGrowth } from './scenarios/growth.mjs';
import { measureHandshakes } from './scenarios/handshakes.mjs';
import { measureMachineTokens } from './scenarios/machine-tokens.mjs';
import { measureManifests } from './scenarios/manifests.mjs';
import { measureMemory } from './scenarios/memory.mjs';
import { measurePolicy } from './scenarios/policy.mjs';
import { measureStartup } from './scenarios/startup.mjs';
import { measureUploads } from './scenarios/uploads.mjs';

/** Real programs that are measured or measure, and the Debian packages they come from. */
const programs = [
  { program: 'nginx', package: 'nginx' },
  { program: 'caddy', package: 'caddy' },
  { program: 'haproxy', package: 'haproxy' },
  { program: 'docker-registry', package: 'docker-registry' },
  { program: 'redis-server', package: 'redis-server' },
  { program: 'wrk', package: 'wrk' },
  { program: 'curl', package: 'curl' },
  { program: 'ab', package: 'apache2-utils' },
  { program: 'htpasswd', package: 'apache2-utils' },
  { program: 'skopeo', package: 'skopeo' },
];

/**
 * In the order in which they are measured.
 * @type {Record<string, Scenario>}
 *
 * @typedef {(rig: import('./rig.mjs').Rig, settings: { quick: boolean, rounds: number }) => Promise<import('./report.mjs').Section>} Scenario
 */
const scenarios = {
  downloads: measureDownloads,
  uploads: measureUploads,
  manifests: measureManifests,
  handshakes: measureHandshakes,
  copies: measureCopies,
  memory: measureMemory,
  flood: measureFlood,
  policy: measurePolicy,
  'machine-tokens': measureMachineTokens,
  startup: measureStartup,
  'clean-scan': measureCleanScan,
  'clean-running': measureCleanRunning,
  growth: measureGrowth,
};
/** Skipped in a quick run, unless named with --only. */
const longScenarios = ['clean-scan', 'clean-running', 'growth'];

// What was cut short may still have timers.
process.exit(await main());

async function main() {
  let settings;
  try {
    settings = parseArguments(process.argv.slice(2), Object.keys(scenarios));
  } catch (error) {
    console.error(error.message);
    return 2;
  }
  if ('help' in settings) {
    console.log(settings.help);
    return 0;
  }
  ensureNode();
  await ensureDependencies();
  const missing = await ensureDebianPackages(programs, settings);
  if (missing.length > 0) return 1;
  await ensureBuild();
  return bench(settings);
}

async function bench(settings) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-bench-'));
  const interrupted = new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.once(signal, () => reject(new Error(`ended by ${signal}`)));
    }
  });
  interrupted.catch(() => {}); // it is awaited only while something can be cut short
  const load = os.loadavg()[0];
  let rig;
  try {
    rig = await openRig(dir);
    const sections = await Promise.race([measureAll(rig, settings), interrupted]);
    const text = renderReport({
      machine: [...describeRun(settings), ...(await describeMachine(programs, load))],
      sections,
    });
    console.log(`\n${text}`);
    if (settings.write) await writeResults(text, sections);
    if (settings.json !== undefined) {
      const raw = sections.map((section) => [section.name, section.raw]);
      fs.writeFileSync(settings.json, `${JSON.stringify(Object.fromEntries(raw), null, 2)}\n`);
    }
    return 0;
  } catch (error) {
    console.error(`\nThe benchmark failed: ${error.message}`);
    return 1;
  } finally {
    await rig?.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function measureAll(rig, { quick, rounds, only, plots }) {
  const names = Object.keys(scenarios).filter((name) =>
    only.length > 0 ? only.includes(name) : !quick || plots || !longScenarios.includes(name),
  );
  const sections = [];
  for (const name of names) {
    console.log(`${name} (${new Date().toLocaleTimeString('en-GB')})`);
    sections.push({ name, ...(await scenarios[name](rig, { quick, rounds })) });
  }
  return sections;
}

function describeRun({ quick, rounds }) {
  return [
    `${describeRounds(rounds)} In brackets are the least and the most. Another number of rounds stands below its table.${quick ? ' **A quick run: bodies are smaller and measurements shorter than in a full one.**' : ''}`,
  ];
}

async function writeResults(text, sections) {
  const { format, resolveConfig } = await import('prettier');
  const file = path.join(root, 'docs/bench/results.md');
  const plots = sections.flatMap((section) => section.plots ?? []);
  const head = `# Benchmark\n\n<!-- Written by "npm run bench". -->\n\nMeasured ${new Date().toISOString().slice(0, 10)}.\n\n`;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const options = { ...(await resolveConfig(file)), filepath: file };
  const shown = plots.map((plot) => `![${plot.title}](${plot.file})\n`).join('\n');
  fs.writeFileSync(file, await format(`${head}${text}\n${shown}`, options));
  for (const plot of plots) fs.writeFileSync(path.join(path.dirname(file), plot.file), plot.svg);
  console.log(`Written: ${path.relative(root, file)}`);
}
