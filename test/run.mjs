// `npm test`: everything the tests need, then every check. Plain JavaScript, because at first nothing is installed.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {
  ensureBuild,
  ensureDebianPackages,
  ensureDependencies,
  ensureNode,
  root,
} from '../src/quickstart/prepare.mjs';
import { Interruption, PreparationError } from '../src/quickstart/step.mjs';

const usage = `Usage: npm test [-- [--no-install] [--only-tests] [FILE …]]
  --no-install   install no Debian packages; what is missing is skipped (and is a failure when CI=true)
  --only-tests   leave out format, lint, types, dead code and generated files
  FILE …         run only the test files whose path contains one of these texts`;

/** Real programs that the tests talk to, and the Debian packages they come from. */
const programs = [
  { program: 'docker-registry', package: 'docker-registry' },
  { program: 'redis-server', package: 'redis-server' },
  { program: 'htpasswd', package: 'apache2-utils' },
  { program: 'haproxy', package: 'haproxy' },
  { program: 'curl', package: 'curl' },
  { program: 'openssl', package: 'openssl' },
  { program: 'python3', package: 'python3' },
  { program: 'systemd-notify', package: 'systemd' },
  { program: 'skopeo', package: 'skopeo' },
  { program: 'podman', package: 'podman' },
  { program: 'buildah', package: 'buildah' },
  { program: 'dockerd', package: 'docker.io' },
  { program: 'docker', package: 'docker.io' },
  { program: 'git', package: 'git' },
  { program: 'shellcheck', package: 'shellcheck' },
  { program: 'logrotate', package: 'logrotate' },
  { program: 'docker-compose', package: 'docker-compose' },
  { program: 'systemd-analyze', package: 'systemd' },
  { program: 'ip', package: 'iproute2' },
  { program: 'nginx', package: 'nginx' },
  { program: 'promtool', package: 'prometheus' },
];

/** A file that hangs ends the run instead of holding it, in milliseconds. */
const longestTestMs = 300_000;

const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith('-'));
const patterns = args.filter((arg) => !arg.startsWith('-'));
if (flags.includes('--help')) {
  console.log(usage);
  process.exit(0);
}
const unknown = flags.filter((flag) => !['--no-install', '--only-tests'].includes(flag));
if (unknown.length > 0) {
  console.error(`Unknown option ${unknown.join(', ')}.\n${usage}`);
  process.exit(2);
}

ensureNode();
try {
  await ensureDependencies();
  await ensureDebianPackages(programs, { install: !flags.includes('--no-install') });
  await ensureBuild();
} catch (error) {
  if (error instanceof Interruption) process.exit(130);
  if (!(error instanceof PreparationError)) throw error;
  console.error(error.message);
  process.exit(1);
}
// Compiled tests of files that are gone must not run.
fs.rmSync(path.join(root, 'build'), { recursive: true, force: true });
await check('Types of the tests', 'node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json');
if (!flags.includes('--only-tests')) {
  await check('Format', 'node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.');
  await check('Lint and import rule', 'node_modules/eslint/bin/eslint.js', '.');
  await check('Dead code and dependencies', 'node_modules/knip/bin/knip.js');
  await check('Generated files are fresh', 'dist/config/generate.js', '--check');
}
const files = fs
  .readdirSync(path.join(root, 'build/test'), { recursive: true })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
  .map((file) => path.join('build/test', file))
  .sort();
process.exitCode = await node(
  '--enable-source-maps',
  '--test',
  '--test-concurrency=2',
  '--test-reporter=spec',
  `--test-timeout=${longestTestMs}`,
  ...files,
);

async function check(title, ...command) {
  console.log(`${title} …`);
  const code = await node(...command);
  if (code === 0) return;
  console.error(`${title}: failed.`);
  process.exit(1);
}

/** Runs Node in the checkout; gives its exit code. */
function node(...command) {
  const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('close', (code) => resolve(code ?? 1)));
}
