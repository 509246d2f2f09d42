// `npm run release`: the package, the list of what is in it, and their checksums, in one folder. docs/operations/release.md says how to use it.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ensureBuild, ensureDependencies, root } from '../src/quickstart/prepare.mjs';
import { PreparationError, run, step } from '../src/quickstart/step.mjs';

const usage = `Usage: npm run release [-- [--draft] [--out DIR]]
  --draft    take the checkout and dist/ as they are, whatever git and CHANGELOG.md say of them
  --out DIR  where the files go; var/release when left out`;

const args = process.argv.slice(2);
const isDraft = takeFlag('--draft');
const outDir = path.resolve(takeValue('--out') ?? path.join(root, 'var/release'));
if (args.length > 0) {
  console.error(usage);
  process.exit(args[0] === '--help' ? 0 : 2);
}

const manifest = readJson('package.json');
const lock = readJson('package-lock.json');
const file = `${manifest.name}-${manifest.version}`;
const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-release-'));
process.on('exit', () => fs.rmSync(stage, { recursive: true, force: true }));
try {
  if (!isDraft) await ensureReady();
  // npm names what it describes after its folder.
  const dir = path.join(stage, manifest.name);
  await step('Package', async () => {
    await stagePackage(dir);
    fs.rmSync(outDir, { recursive: true, force: true });
    fs.mkdirSync(outDir, { recursive: true });
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', outDir], { cwd: dir });
    return { outcome: `${file}.tgz` };
  });
  await step('Software bill of materials', async () => {
    const bill = await describe(dir);
    fs.writeFileSync(path.join(outDir, `${file}.cdx.json`), bill);
    return { outcome: `${file}.cdx.json` };
  });
  const sums = fs.readdirSync(outDir).map((name) => `${checksum(path.join(outDir, name))}  ${name}\n`);
  fs.writeFileSync(path.join(outDir, 'SHA256SUMS'), sums.join(''));
  console.log(`In ${outDir}:\n${sums.join('')}`);
} catch (error) {
  if (!(error instanceof PreparationError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

/** What is released is what is committed, and is what the change log calls it. */
async function ensureReady() {
  const changes = await run('git', ['status', '--porcelain'], { cwd: root });
  if (changes.trim() !== '') throw new PreparationError(`Commit first, or use --draft:\n${changes}`);
  const log = fs.readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8');
  if (!log.includes(`\n## [${manifest.version}] - `)) {
    throw new PreparationError(`CHANGELOG.md has no "## [${manifest.version}] - DATE", or use --draft.`);
  }
  await ensureDependencies();
  await run(process.execPath, ['release/licences.mjs', '--check'], { cwd: root });
  fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  await ensureBuild();
}

/**
 * Copies what package.json's `files` names, with the lock file beside it under the name that npm heeds in a package: who
 * installs it gets the very dependencies that were tested. What only development needs is in neither.
 */
async function stagePackage(dir) {
  const [{ files }] = JSON.parse(
    await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root }),
  );
  for (const { path: name } of files.filter(isCurrent))
    fs.cpSync(path.join(root, name), path.join(dir, name));
  const { devDependencies: _development, scripts: _scripts, ...rest } = manifest;
  const { devDependencies: _locked, ...rootEntry } = lock.packages[''];
  const packages = Object.fromEntries(Object.entries(lock.packages).filter(([, { dev }]) => !dev));
  writeJson(path.join(dir, 'package.json'), { ...rest, files: [...rest.files, 'npm-shrinkwrap.json'] });
  writeJson(path.join(dir, 'npm-shrinkwrap.json'), { ...lock, packages: { ...packages, '': rootEntry } });
}

/** Whether it is no leftover: the compiler leaves in dist/ what it made from a source that is gone. */
function isCurrent({ path: name }) {
  const source = /^dist\/(.+)\.js$/.exec(name)?.[1];
  return source === undefined || fs.existsSync(path.join(root, `src/${source}.ts`));
}

/**
 * The CycloneDX document of the package. `npm sbom --omit=dev` in the checkout would leave out what development needs
 * as well as the program; here nothing has to be left out.
 */
async function describe(dir) {
  const options = ['--package-lock-only', '--sbom-format=cyclonedx', '--sbom-type=application'];
  const bill = await run('npm', ['sbom', ...options], { cwd: dir });
  const { components } = JSON.parse(bill);
  const wanted = Object.values(lock.packages).filter(({ dev }) => !dev).length - 1;
  if (components.length !== wanted) {
    throw new PreparationError(`npm sbom lists ${components.length} packages, and there are ${wanted}.`);
  }
  return bill;
}

function takeFlag(name) {
  const index = args.indexOf(name);
  if (index !== -1) args.splice(index, 1);
  return index !== -1;
}

function takeValue(name) {
  const index = args.indexOf(name);
  return index === -1 ? undefined : args.splice(index, 2)[1];
}

function checksum(name) {
  return createHash('sha256').update(fs.readFileSync(name)).digest('hex');
}

function readJson(name) {
  return JSON.parse(fs.readFileSync(path.join(root, name), 'utf8'));
}

function writeJson(name, value) {
  fs.writeFileSync(name, `${JSON.stringify(value, null, 2)}\n`);
}
