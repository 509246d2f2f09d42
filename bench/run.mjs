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
import { buildOther } from './other-checkout.mjs';
import { parseArguments } from './arguments.mjs';
import { describeMachine } from './machine.mjs';
import { drawOverview } from './overview.mjs';
import { renderReport } from './report.mjs';
import { openRig } from './rig.mjs';
import { describeRounds } from './statistics.mjs';

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
 * In the order in which they are measured. Loaded when Tidegate is built, which some of them import.
 * @type {Record<string, () => Promise<Scenario>>}
 *
 * @typedef {(rig: import('./rig.mjs').Rig, settings: { quick: boolean, rounds: number }) => Promise<import('./report.mjs').Section>} Scenario
 */
const scenarios = {
  downloads: async () => (await import('./scenarios/downloads.mjs')).measureDownloads,
  uploads: async () => (await import('./scenarios/uploads.mjs')).measureUploads,
  manifests: async () => (await import('./scenarios/manifests.mjs')).measureManifests,
  handshakes: async () => (await import('./scenarios/handshakes.mjs')).measureHandshakes,
  crowds: async () => (await import('./scenarios/crowds.mjs')).measureCrowds,
  copies: async () => (await import('./scenarios/copies.mjs')).measureCopies,
  memory: async () => (await import('./scenarios/memory.mjs')).measureMemory,
  flood: async () => (await import('./scenarios/flood.mjs')).measureFlood,
  policy: async () => (await import('./scenarios/policy.mjs')).measurePolicy,
  'machine-tokens': async () => (await import('./scenarios/machine-tokens.mjs')).measureMachineTokens,
  startup: async () => (await import('./scenarios/startup.mjs')).measureStartup,
  'clean-scan': async () => (await import('./scenarios/clean-scan.mjs')).measureCleanScan,
  'clean-running': async () => (await import('./scenarios/clean-running.mjs')).measureCleanRunning,
  growth: async () => (await import('./scenarios/growth.mjs')).measureGrowth,
};
/** Skipped in a quick run, unless named with --only. */
const longScenarios = ['crowds', 'clean-scan', 'clean-running', 'growth'];

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
    if (settings.against !== undefined) await buildOther(settings.against);
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

async function measureAll(rig, { quick, rounds, only, plots, against }) {
  if (against !== undefined) {
    const { measureAgainst } = await import('./against.mjs');
    return [{ name: 'against', ...(await measureAgainst(rig, { against, quick, rounds })) }];
  }
  const names = Object.keys(scenarios).filter((name) =>
    only.length > 0 ? only.includes(name) : !quick || plots || !longScenarios.includes(name),
  );
  const sections = [];
  for (const name of names) {
    console.log(`${name} (${new Date().toLocaleTimeString('en-GB')})`);
    const measure = await scenarios[name]();
    sections.push({ name, ...(await measure(rig, { quick, rounds })) });
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
  const overview = drawOverview(sections);
  const plots = [...(overview ? [overview] : []), ...sections.flatMap((section) => section.plots ?? [])];
  const head = `# Benchmark\n\n<!-- Written by "npm run bench". -->\n\nMeasured ${new Date().toISOString().slice(0, 10)}.\n\n`;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const options = { ...(await resolveConfig(file)), filepath: file };
  const shown = plots.map((plot) => `![${plot.title}](${plot.file})\n`).join('\n');
  fs.writeFileSync(file, await format(`${head}${text}\n${shown}`, options));
  for (const plot of plots) fs.writeFileSync(path.join(path.dirname(file), plot.file), plot.svg);
  console.log(`Written: ${path.relative(root, file)}`);
}
