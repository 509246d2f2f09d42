// `npm test`, `npm run test:all`, `npm run test:watch`. Plain JavaScript, because at first nothing is installed.
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
import { compileTests, listTestFiles, node } from './compile.mjs';

const usage = `Usage: npm test [-- OPTION … [FILE …]]           format, lint, types, dead code, generated files, and the short tests
       npm run test:all [-- OPTION … [FILE …]]   the rest: the long tests, those in test/long/
       npm run test:watch [-- OPTION … [FILE …]] runs tests again whenever a file of src/, test/ or torture/ changes
  --everything   the checks, the short tests and the long ones, in one run
  --no-install   install no Debian packages; what is missing is skipped (and is a failure when CI=true)
  --only-tests   leave out format, lint, dead code and generated files
  FILE …         run only the test files, short or long, whose path contains one of these texts;
                 test:watch without one runs the tests of units that import what has changed`;

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
  { program: 'chromium', package: 'chromium' },
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
  { program: 'systemd-nspawn', package: 'systemd-container' },
  { program: 'mmdebstrap', package: 'mmdebstrap' },
  { program: 'pebble', package: 'pebble' },
  { program: 'pebble-challtestsrv', package: 'pebble' },
];

/** Those that take longest, the longest first: begun first, they are not what the others wait for at the end. */
const longestFiles = [
  'long/integration/systemd',
  'long/integration/acme-renewals',
  'long/integration/acme-kill',
  'long/integration/install',
  'long/integration/clean-kill',
  'long/integration/clean-history-doors',
  'long/integration/clean-history-kills',
  'long/integration/clean-history',
  'long/integration/install-mirrors',
  'long/e2e/console-accessible',
  'long/integration/paused-run-folder',
  'long/e2e/large-bodies',
  'long/e2e/slow-push',
  'long/integration/cache-promise',
  'long/integration/doctor-operator',
  'long/integration/reload',
  'long/integration/container-image',
  'long/integration/doctor-client',
  'long/e2e/slow-connections',
  'long/torture/attacks',
  'long/torture/redis-and-disk',
  'long/integration/workers',
  'long/e2e/token-clients',
  'long/integration/redis-history',
  'long/torture/soak',
  'long/integration/streaming-torture',
  'integration/tag-delete',
  'integration/deletes-redis',
  'integration/clean-channel',
  'integration/route-lists',
  'integration/admin',
  'integration/cache-answers',
  'integration/immutable-tags-deletes',
  'e2e/docker-engine',
  'integration/startup',
];
/** The one mark of a long test: where its file is. */
const longFolder = `long${path.sep}`;

const flags = ['--everything', '--long', '--no-install', '--only-tests', '--watch'];
const args = process.argv.slice(2);
const options = args.filter((arg) => arg.startsWith('-'));
const patterns = args.filter((arg) => !arg.startsWith('-'));
const has = (flag) => options.includes(flag);
if (has('--help')) {
  console.log(usage);
  process.exit(0);
}
const unknown = options.filter((option) => !flags.includes(option));
if (unknown.length > 0) {
  console.error(`Unknown option ${unknown.join(', ')}.\n${usage}`);
  process.exit(2);
}
const title = has('--long') ? 'npm run test:all' : 'npm test';
const needsChecks = !has('--only-tests') && (has('--everything') || !has('--long'));
const startedAtMs = performance.now();

ensureNode();
try {
  await ensureDependencies();
  await ensureDebianPackages(programs, { install: !has('--no-install') });
  await ensureBuild();
} catch (error) {
  if (error instanceof Interruption) process.exit(130);
  if (!(error instanceof PreparationError)) throw error;
  console.error(error.message);
  finish(1, error.message);
}
if (has('--watch')) {
  const { watch } = await import('./watch.mjs');
  await watch(patterns);
}
if (
  !(await passAll([() => check('Types of the tests', compileTests), ...(needsChecks ? sourceChecks() : [])]))
)
  finish(1, 'a check failed, no test ran');
const chosen = choose();
if (chosen.length === 0) finish(1, 'there is no such test file');
const files = (patterns.length === 0 ? gatherUnits(chosen) : chosen).map((file) => `build/test/${file}`);
process.env.TEST_CERTIFICATES = path.join(root, 'build/certificates');
fs.rmSync(process.env.TEST_CERTIFICATES, { recursive: true, force: true });
fs.mkdirSync(process.env.TEST_CERTIFICATES);
const countsFile = path.join(root, 'build/counts.json');
fs.rmSync(countsFile, { force: true });
process.env.TEST_COUNTS = countsFile;
const code = await node('--enable-source-maps', 'test/run-files.mjs', ...files);
const { what, failures } = readOutcome();
finish(code, what, failures);

/** The files of this run, the longest first. */
function choose() {
  return listTestFiles()
    .filter((file) =>
      patterns.length > 0
        ? patterns.some((pattern) => file.includes(pattern))
        : has('--everything') || file.startsWith(longFolder) === has('--long'),
    )
    .sort((one, other) => rank(one) - rank(other));
}

function rank(file) {
  const index = longestFiles.indexOf(file.replace(/\.test\.js$/, ''));
  return index === -1 ? longestFiles.length : index;
}

/**
 * Puts the tests of units into two files, which import them: the start of a process for each takes longer than most of them. Those of
 * passwords and their files take about as long as all others.
 */
function gatherUnits(all) {
  const units = all.filter((file) => file.startsWith(`unit${path.sep}`));
  const isAuth = (file) => file.startsWith(path.join('unit', 'auth', ''));
  const gathered = [
    ['units-auth.test.js', units.filter(isAuth)],
    ['units.test.js', units.filter((file) => !isAuth(file))],
  ].filter(([, imported]) => imported.length > 0);
  for (const [name, imported] of gathered) {
    const imports = imported.map(
      (file) => `import ${JSON.stringify(`./${file.split(path.sep).join('/')}`)};\n`,
    );
    fs.writeFileSync(path.join(root, 'build/test', name), imports.join(''));
  }
  return [...gathered.map(([name]) => name), ...all.filter((file) => !units.includes(file))];
}

/** The longest first, after the compiler. */
function sourceChecks() {
  return [
    checkWith('Lint', 'node_modules/eslint/bin/eslint.js', '.'),
    checkWith('Format', 'node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'),
    checkWith('Dead code and dependencies', 'node_modules/knip/bin/knip.js'),
    checkWith(
      'Import rule, and no circles',
      'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
      '--config',
      '.dependency-cruiser.mjs',
      'src',
    ),
    checkWith('Generated files are fresh', 'dist/config/docs/generate.js', '--check'),
  ];
}

/** Runs all of them, two at a time, in their order: each keeps about one core busy. */
async function passAll(checks) {
  const left = [...checks];
  let passed = true;
  const work = async () => {
    for (let next; (next = left.shift()) !== undefined;) passed = (await next()) && passed;
  };
  await Promise.all([work(), work()]);
  return passed;
}

function checkWith(name, ...command) {
  return () => check(name, () => node(...command));
}

async function check(name, work) {
  const beganAtMs = performance.now();
  const code = await work();
  const seconds = ((performance.now() - beganAtMs) / 1000).toFixed(1);
  console.log(`${name}: ${code === 0 ? 'passed' : 'failed'} (${seconds} s)`);
  return code === 0;
}

function readOutcome() {
  if (!fs.existsSync(countsFile)) return { what: 'the run broke off', failures: [] };
  const { failures, tests, pass, fail, cancelled, skipped } = JSON.parse(fs.readFileSync(countsFile, 'utf8'));
  const what = `${chosen.length} files, ${tests} tests: ${pass} passed, ${fail + cancelled} failed, ${skipped} skipped`;
  return { what, failures };
}

/** Ends with what failed and the line that counts; appends them to the file TEST_SUMMARY, for who runs several commands. */
function finish(code, what, failures = []) {
  const seconds = Math.round((performance.now() - startedAtMs) / 1000);
  const failed = failures.map((failure) => `failed: ${failure}\n`).join('');
  const line = `${title}: ${what} (${seconds} s)${code === 0 ? '' : ': FAILED'}\n`;
  process.stdout.write(`\n${failed}${line}`);
  if (process.env.TEST_SUMMARY) fs.appendFileSync(process.env.TEST_SUMMARY, `${failed}${line}`);
  process.exit(code);
}
