import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cacheFolder } from './debian-archive.ts';
import { root, run } from './processes.ts';

/** Each takes about 10 s on two quiet cores, and many times that beside other tests. */
const timeoutMs = 240_000;

type Lock = { packages: Record<string, { version?: string; dev?: boolean; license?: string }> };

/** Makes the release of a checkout, without checks of git and the change log; returns the package's file. */
export async function makeRelease(checkout: string, outDir: string): Promise<string> {
  const made = await run(process.execPath, ['release/release.mjs', '--draft', '--out', outDir], {
    cwd: checkout,
    timeoutMs,
  });
  assert.equal(made.code, 0, made.stderr);
  const name = (await readdir(outDir)).find((each) => each.endsWith('.tgz')) ?? assert.fail(made.stdout);
  return path.join(outDir, name);
}

/** Unpacks a package and installs its dependencies beside it, as `npm ci` would. */
export async function unpackRelease(file: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const unpacked = await run('tar', ['-xzf', file, '--strip-components=1', '-C', folder]);
  assert.equal(unpacked.code, 0, unpacked.stderr);
  const lock = JSON.parse(await readFile(`${folder}/npm-shrinkwrap.json`, 'utf8')) as Lock;
  if (!(await isInstalled(lock))) return installInto(folder, '--omit=dev');
  for (const name of Object.keys(lock.packages).filter((each) => each !== '')) {
    await cp(`${root}${name}`, `${folder}/${name}`, { recursive: true, verbatimSymlinks: true });
  }
}

export type ReleaseBefore =
  { readonly file: string; readonly version: string } | { readonly missing: string };

/** The package of the previous release: of the commit before the one that set the current version. */
export async function makeReleaseBefore(): Promise<ReleaseBefore> {
  const commit = await findReleaseBefore();
  if (commit === null) return { missing: 'the history has no release before: a shallow clone, or none' };
  const show = async (name: string) => (await git('show', `${commit}:${name}`)).stdout;
  const { version } = JSON.parse(await show('package.json')) as { version: string };
  const file = path.join(cacheFolder, `tidegate-${version}-${commit.slice(0, 12)}.tgz`);
  if (await stat(file).catch(() => null)) return { file, version };

  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-release-before-'));
  try {
    const made = await makeReleaseOf(commit, dir);
    await mkdir(cacheFolder, { recursive: true });
    await cp(made, `${file}.${process.pid}`);
    await rename(`${file}.${process.pid}`, file);
    return { file, version };
  } catch (error) {
    return { missing: `the release before can't be made here: ${String(error)}` };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function makeReleaseOf(commit: string, dir: string): Promise<string> {
  const checkout = path.join(dir, 'checkout');
  await mkdir(checkout);
  const packed = await git('archive', '--output', `${dir}/checkout.tar`, commit);
  assert.equal(packed.code, 0, packed.stderr);
  await run('tar', ['-xf', `${dir}/checkout.tar`, '-C', checkout]);
  const lock = JSON.parse(await readFile(`${checkout}/package-lock.json`, 'utf8')) as Lock;
  if (await isInstalled(lock)) await symlink(`${root}node_modules`, `${checkout}/node_modules`);
  else await installInto(checkout, '--include=dev');
  const compiler = `${checkout}/node_modules/typescript/bin/tsc`;
  const built = await run(process.execPath, [compiler, '-p', 'tsconfig.json'], {
    cwd: checkout,
    timeoutMs,
  });
  assert.equal(built.code, 0, built.stdout);
  return makeRelease(checkout, `${dir}/out`);
}

const git = (...args: string[]) =>
  run('git', ['-c', `safe.directory=${path.resolve(root)}`, ...args], { cwd: root });

async function findReleaseBefore(): Promise<string | null> {
  const { stdout: set } = await git('log', '-1', '--format=%H', '-G^  "version":', '--', 'package.json');
  if (set.trim() === '') return null;
  const { code, stdout } = await git('rev-parse', '--verify', '--quiet', `${set.trim()}^`);
  return code === 0 ? stdout.trim() : null;
}

/** Whether the program's dependencies are those installed here: then no network is needed. */
async function isInstalled(lock: Lock): Promise<boolean> {
  const present = JSON.parse(await readFile(`${root}package-lock.json`, 'utf8')) as Lock;
  return listProgramPackages(lock) === listProgramPackages(present);
}

function listProgramPackages({ packages }: Lock): string {
  return Object.entries(packages)
    .filter(([name, { dev }]) => name !== '' && dev !== true)
    .map(([name, { version = '' }]) => `${name} ${version}`)
    .sort()
    .join('\n');
}

async function installInto(folder: string, which: string): Promise<void> {
  const options = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', which];
  const installed = await run('npm', ['ci', ...options], { cwd: folder, timeoutMs });
  assert.equal(installed.code, 0, installed.stderr.slice(-400));
}
