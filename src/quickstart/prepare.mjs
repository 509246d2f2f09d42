// Plain JavaScript with only Node's built-in modules: on a fresh machine nothing is installed or compiled yet.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitForLock } from './lock.mjs';
import { PreparationError, run, step } from './step.mjs';

export { ensureDebianPackages } from './debian-packages.mjs';

/** The folder of the checkout. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Ends the process with one sentence and status 1 when this Node is older than package.json's `engines` wants. */
export function ensureNode() {
  const wanted = readJson('package.json').engines.node.replace('>=', '');
  const [wantedMajor, wantedMinor = 0] = wanted.split('.').map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  console.error(
    `Tidegate needs Node ${wanted} or newer, and this is ${process.versions.node}: install a newer one from https://nodejs.org.`,
  );
  process.exit(1);
}

/** Installs the dependencies with `npm ci`, unless the installed ones are exactly those of package-lock.json. */
export async function ensureDependencies() {
  await step('Dependencies', (say) =>
    alone(say, async () => {
      if (dependenciesAreInstalled()) return { outcome: 'up to date' };
      const wanted = Object.entries(readJson('package-lock.json').packages).filter(
        ([folder, entry]) => folder !== '' && !entry.optional,
      );
      say(`installing ${wanted.length} packages with npm ci`);
      const startedAtMs = Date.now();
      const ticker = setInterval(() => {
        const there = wanted.filter(([folder]) => fs.existsSync(path.join(root, folder, 'package.json')));
        say(
          `${there.length} of ${wanted.length} packages after ${Math.round((Date.now() - startedAtMs) / 1000)} s`,
        );
      }, 5000);
      try {
        await runNpm(['ci', '--include=dev', '--no-audit', '--no-fund', '--prefer-offline']);
      } finally {
        clearInterval(ticker);
      }
      return { outcome: 'installed' };
    }),
  );
}

/** Compiles src/ to dist/, unless dist/ was compiled from the present sources. */
export async function ensureBuild() {
  await step('Build', (say) =>
    alone(say, async () => {
      const stamp = path.join(root, 'dist/.built-from');
      if (!outputIsMissing() && readIfThere(stamp) === buildFingerprint()) return { outcome: 'up to date' };
      say('compiling src/ to dist/');
      fs.rmSync(stamp, { force: true });
      // The compiler skips files that it remembers, even if they were deleted since.
      if (outputIsMissing()) fs.rmSync(path.join(root, 'dist/.tsbuildinfo'), { force: true });
      const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
      await run(process.execPath, [compiler, '-p', 'tsconfig.json', '--noEmitOnError'], { cwd: root });
      fs.writeFileSync(stamp, buildFingerprint());
      return { outcome: 'compiled' };
    }),
  );
}

/** Serializes preparations of one checkout (an `npm start` and an `npm test`, say). */
async function alone(say, work) {
  const release = await waitForLock(path.join(root, 'var/prepare.lock'), (pid) =>
    say(`waiting for process ${pid}, which is preparing this checkout too`),
  );
  try {
    return await work();
  } finally {
    release();
  }
}

/**
 * npm writes node_modules/.package-lock.json last, so an interrupted installation has none
 * (https://docs.npmjs.com/cli/configuring-npm/package-lock-json#hidden-lockfiles).
 */
function dependenciesAreInstalled() {
  const text = readIfThere(path.join(root, 'node_modules/.package-lock.json'));
  if (text === undefined) return false;
  const installed = JSON.parse(text).packages;
  const wanted = readJson('package-lock.json').packages;
  const same = (folder) =>
    installed[folder]?.version === wanted[folder]?.version &&
    installed[folder]?.integrity === wanted[folder]?.integrity;
  return (
    Object.keys(installed).every(same) &&
    // Optional packages are for one platform each, so most are absent.
    Object.keys(wanted).every((folder) => {
      const { optional, devOptional } = wanted[folder];
      return folder === '' || ((optional || devOptional) && !installed[folder]) || same(folder);
    })
  );
}

/** The npm that runs this script, else the one on PATH. */
async function runNpm(args) {
  const running = process.env.npm_execpath;
  const command = running?.endsWith('npm-cli.js') ? [process.execPath, running] : ['npm'];
  await run(command[0], [...command.slice(1), ...args], { cwd: root });
}

/** A signature that changes with any source, the compiler, and other compilations to dist/. */
function buildFingerprint() {
  const hash = crypto.createHash('sha256');
  const others = ['tsconfig.json', 'node_modules/typescript/package.json', 'dist/.tsbuildinfo'];
  for (const file of [...sources(), ...others]) {
    hash.update(`${file}\0${readIfThere(path.join(root, file)) ?? ''}\0`);
  }
  return hash.digest('hex');
}

function outputIsMissing() {
  return sources().some(
    (file) => !fs.existsSync(path.join(root, file.replace(/^src/, 'dist').replace(/\.tsx?$/, '.js'))),
  );
}

function sources(folder = 'src') {
  return fs.readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sources(name);
    return /(?<!\.d)\.tsx?$/.test(name) ? [name] : [];
  });
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'));
  } catch (error) {
    throw new PreparationError(`${file} of this checkout cannot be read: ${error.message}.`);
  }
}

function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}
