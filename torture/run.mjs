// `npm run torture`: everything the trials need, then every part, one after the other, and one table. Plain JavaScript, because at first nothing is installed.
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  ensureBuild,
  ensureDebianPackages,
  ensureDependencies,
  ensureNode,
  root,
} from '../src/quickstart/prepare.mjs';
import { Interruption, PreparationError } from '../src/quickstart/step.mjs';
import { partNames } from './part-names.mjs';

const forms = ['quick', 'ci', 'long'];
const usage = `Usage: npm run torture [-- FLAGS]
  --form FORM    quick (minutes), ci (the default; half an hour or so), long (hours)
  --only A,B     only the parts whose names contain one of these texts
  --seed N       use the random seed that an earlier run printed
  --write        write the results of these parts into docs/torture.md; keep those of the others
  --render       only render the page again, from torture/results.json and findings.json
  --no-install   install no Debian packages; trials that lack one fail`;

/** Real programs that stand behind and beside Tidegate, and the Debian packages they come from. */
const programs = [
  { program: 'docker-registry', package: 'docker-registry' },
  { program: 'redis-server', package: 'redis-server' },
  { program: 'htpasswd', package: 'apache2-utils' },
  { program: 'openssl', package: 'openssl' },
  { program: 'curl', package: 'curl' },
  { program: 'skopeo', package: 'skopeo' },
  { program: 'sslscan', package: 'sslscan' },
  { program: 'testssl', package: 'testssl.sh' },
];

// A trial that hung may still have timers and sockets.
process.exit(await main());

async function main() {
  const settings = parseSettings();
  if (typeof settings === 'number') return settings;
  ensureNode();
  try {
    await ensureDependencies();
    await ensureDebianPackages(programs, settings);
    await ensureBuild();
  } catch (error) {
    if (error instanceof Interruption) return 130;
    if (!(error instanceof PreparationError)) throw error;
    console.error(error.message);
    return 1;
  }
  if (!(await compileTests())) return 1;
  return torture(settings);
}

function parseSettings() {
  try {
    const text = { type: 'string' };
    const flag = { type: 'boolean', default: false };
    const { values } = parseArgs({
      options: {
        ...{ form: text, only: text, seed: text },
        ...{ write: flag, render: flag, help: flag, 'no-install': flag },
      },
    });
    if (values.help) {
      console.log(usage);
      return 0;
    }
    const { form = 'ci', only = '', seed = String(randomInt(2 ** 31)), write, render } = values;
    if (!forms.includes(form)) throw new Error(`--form wants one of ${forms.join(', ')}.`);
    if (!/^\d{1,10}$/.test(seed)) throw new Error('--seed wants a whole number.');
    const chosen = choose(only.split(','));
    const install = !values['no-install'];
    return { form, chosen, seed: Number(seed), write, render, install };
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    return 2;
  }
}

function choose(texts) {
  const matches = (name, text) => name.toLowerCase().includes(text.toLowerCase());
  const unknown = texts.filter((text) => !partNames.some((name) => matches(name, text)));
  if (unknown.length > 0)
    throw new Error(`There is no part ${unknown.join(', ')}. There are: ${partNames.join(', ')}.`);
  return partNames.filter((name) => texts.some((text) => matches(name, text)));
}

async function compileTests() {
  console.log('Trials …');
  const compiler = ['node_modules/typescript7/bin/tsc', '-p', 'test/tsconfig.json'];
  const child = spawn(process.execPath, compiler, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('close', (code) => resolve(code === 0)));
}

async function torture({ form, chosen: names, seed, write, render }) {
  const built = (file) => import(path.join(root, 'build/torture', file));
  const [{ parts }, { runParts }, { loadFindings }, { renderTable }, publication] = await Promise.all(
    ['parts.js', 'run-parts.js', 'findings.js', 'report.js', 'publication.js'].map(built),
  );
  const all = loadFindings();
  if (render) {
    await writePage('docs/torture.md', () => publication.renderPage(publication.loadResults(), all));
    return 0;
  }
  const chosen = parts.filter(({ name }) => names.includes(name));
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.once(signal, () => interruption.abort(new Error(signal)));
  console.log(`Form ${form}, seed ${seed}.`);
  const startedAtMs = performance.now();
  const load = os.loadavg()[0];
  const results = await runParts(chosen, {
    ...{ form, seed, signal: interruption.signal },
    write: (text) => process.stdout.write(text),
  });
  const findings = all.filter(({ part }) => chosen.some(({ name }) => name === part));
  const duration = publication.describeDuration((performance.now() - startedAtMs) / 1000);
  console.log(`\n${renderTable(results, findings)}\n\nForm ${form}, ${duration}. Seed ${seed}.`);
  for (const { name, broke } of results)
    for (const sentence of broke) console.log(`\nBroke: ${name}: ${sentence}`);
  if (interruption.signal.aborted) return 130;
  if (write) {
    const published = publication.mergeResults(partNames, results, await describeRun({ form, seed, load }));
    await writePage(path.relative(root, publication.resultsPath), () => JSON.stringify(published));
    await writePage('docs/torture.md', () => publication.renderPage(published, all));
  }
  return results.some(({ broke }) => broke.length > 0) ? 1 : 0;
}

async function describeRun({ form, seed, load }) {
  const { describeMachine } = await import('../bench/machine.mjs');
  const [machine, versions] = await describeMachine(programs, load);
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const date = new Date().toISOString().slice(0, 10);
  return { form, seed, load, version, date, machine: [machine, versions] };
}

/** Writes a page anew from what is there, in the form that the check of formats wants. */
async function writePage(name, change) {
  const { format, resolveConfig } = await import('prettier');
  const file = path.join(root, name);
  const present = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  const options = { ...(await resolveConfig(file)), filepath: file };
  fs.writeFileSync(file, await format(change(present), options));
  console.log(`Written: ${name}`);
}
