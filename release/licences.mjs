// Lists the licences of all dependencies in docs/licences.md; with --check, only says whether that page is fresh.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = path.join(root, 'docs/licences.md');

/** SPDX identifiers under which a program of Apache-2.0 may be made from a dependency, and be handed on with it. */
const compatible = new Set([
  ...['MIT', 'MIT-0', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'Apache-2.0', 'BlueOak-1.0.0'],
]);
/** For packages that are not handed on: theirs ends at their own files. */
const forDevelopment = new Set(['MPL-2.0']);

const packages = readPackages();
const foreign = packages.filter(
  ({ licence, isForDevelopment }) =>
    !isCompatible(licence) && !(isForDevelopment && forDevelopment.has(licence)),
);
if (foreign.length > 0) {
  const names = foreign.map(({ name, version, licence }) => `${name} ${version}: ${licence ?? 'none named'}`);
  console.error(
    `Not known to be compatible with Apache-2.0:\n  ${names.join('\n  ')}\nLeave the package out, or add its licence to release/licences.mjs if it is.`,
  );
  process.exit(1);
}
const text = formatPage();
if (!process.argv.includes('--check')) fs.writeFileSync(page, text);
else if (!fs.existsSync(page) || fs.readFileSync(page, 'utf8') !== text) {
  console.error('docs/licences.md is not what package-lock.json says: run npm run licences.');
  process.exit(1);
}

/** Every package that package-lock.json names, also those for other platforms. */
function readPackages() {
  const { packages: locked } = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  const unique = new Map();
  for (const [folder, { version, license: licence, dev }] of Object.entries(locked)) {
    if (folder === '') continue;
    const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const known = unique.get(`${name} ${version}`);
    // npm marks with devOptional what is optional besides; whatever is not plainly for development is in the program.
    unique.set(`${name} ${version}`, {
      ...{ name, version, licence },
      isForDevelopment: dev === true && known?.isForDevelopment !== false,
    });
  }
  return [...unique.values()].sort((a, b) => compare(a.name, b.name) || compare(a.version, b.version));
}

function compare(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Reads the little of SPDX' expressions that occurs: one identifier, or a choice between several. */
function isCompatible(licence) {
  if (typeof licence !== 'string') return false;
  const choices = licence.replace(/^\((.*)\)$/, '$1').split(' OR ');
  return choices.some((choice) => compatible.has(choice));
}

function formatPage() {
  const program = packages.filter(({ isForDevelopment }) => !isForDevelopment);
  const development = packages.filter(({ isForDevelopment }) => isForDevelopment);
  return `# Licences of the dependencies

Tidegate is under the Apache License 2.0. Its dependencies are under the licences below, as \`package-lock.json\` records them; all of them allow that. \`npm run licences\` writes this page, and \`npm test\` checks that it is fresh.

## In the program

The licences' texts are in each package's folder in \`node_modules/\`, also in the container image.

${formatList(program)}

## For development alone

Not in the package, and not in the image.

${formatList(development)}
`;
}

function formatList(list) {
  const byLicence = new Map();
  for (const each of list) byLicence.set(each.licence, [...(byLicence.get(each.licence) ?? []), each]);
  return [...byLicence]
    .sort(([, a], [, b]) => b.length - a.length || compare(a[0].name, b[0].name))
    .map(
      ([licence, those]) =>
        `- **${licence}** (${those.length}): ${those.map(({ name, version }) => `${name} ${version}`).join(', ')}`,
    )
    .join('\n');
}
