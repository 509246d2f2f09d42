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
  { program: 'sslscan', package: 'sslscan' },
  { program: 'strace', package: 'strace' },
];

/** Those that take longest, the longest first: begun first, they are not what the others have ended before. */
const longestFiles = [
  'e2e/large-bodies',
  'integration/cache-promise',
  'integration/doctor-operator',
  'integration/install',
  'integration/doctor-client',
  'e2e/slow-connections',
  'integration/container-image',
  'integration/redis-history',
  'integration/quickstart',
  'integration/cache-redis-trouble',
  'integration/redis-trouble',
  'integration/reload',
  'integration/storage-transfers',
  'integration/workers',
  'torture/quick/attacks',
  'torture/quick/redis-and-disk',
  'torture/quick/soak',
  'integration/streaming-torture',
];

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
const passed = await Promise.all([
  check('Types of the tests', 'node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json'),
  flags.includes('--only-tests') || checkSources(),
]);
if (passed.includes(false)) process.exit(1);
const found = fs
  .readdirSync(path.join(root, 'build/test'), { recursive: true })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
  .sort((one, other) => rank(one) - rank(other) || (one < other ? -1 : 1));
const files = (patterns.length === 0 ? gatherUnits(found) : found).map((file) =>
  path.join('build/test', file),
);
process.env.TEST_CERTIFICATES = path.join(root, 'build/certificates');
fs.mkdirSync(process.env.TEST_CERTIFICATES);
process.exitCode = await node('--enable-source-maps', 'test/run-files.mjs', ...files);

function rank(file) {
  const index = longestFiles.indexOf(file.replace(/\.test\.js$/, ''));
  return index === -1 ? longestFiles.length : index;
}

/** Puts the tests of units into one file, which imports them: the start of a process for each takes longer than most of them. */
function gatherUnits(all) {
  const units = all.filter((file) => file.startsWith(`unit${path.sep}`));
  const imports = units.map((file) => `import ${JSON.stringify(`./${file.split(path.sep).join('/')}`)};\n`);
  fs.writeFileSync(path.join(root, 'build/test/units.test.js'), imports.join(''));
  return ['units.test.js', ...all.filter((file) => !units.includes(file))];
}

/** One after the other, beside the compiler, which keeps one core busy. */
async function checkSources() {
  const prettier = 'node_modules/prettier/bin/prettier.cjs';
  const checks = [
    await check('Format', prettier, '--check', '--log-level', 'warn', '.'),
    await check('Lint', 'node_modules/eslint/bin/eslint.js', '.'),
    await check(
      'Import rule, and no circles',
      'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
      '--config',
      '.dependency-cruiser.mjs',
      'src',
    ),
    await check('Dead code and dependencies', 'node_modules/knip/bin/knip.js'),
    await check('Generated files are fresh', 'dist/config/docs/generate.js', '--check'),
  ];
  return !checks.includes(false);
}

async function check(title, ...command) {
  console.log(`${title} …`);
  const code = await node(...command);
  if (code !== 0) console.error(`${title}: failed.`);
  return code === 0;
}

/** Runs Node in the checkout; gives its exit code. */
function node(...command) {
  const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('close', (code) => resolve(code ?? 1)));
}
