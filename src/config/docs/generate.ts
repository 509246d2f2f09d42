import { readFile, writeFile } from 'node:fs/promises';
import { formatJsonSchema } from './json-schema.ts';
import { formatReference } from './reference.ts';

/*
 * Writes config/schema.json and config/REFERENCE.md from the schema (`npm run generate`); with --check, only says
 * whether they are up to date.
 */
const files = [
  { name: 'config/schema.json', content: formatJsonSchema() },
  { name: 'config/REFERENCE.md', content: formatReference() },
];
const isCheck = process.argv.includes('--check');

for (const { name, content } of files) {
  // The package's folder, wherever the program is called from.
  const url = new URL(`../../../${name}`, import.meta.url);
  if (!isCheck) {
    await writeFile(url, content);
  } else if ((await readFile(url, 'utf8').catch(() => undefined)) !== content) {
    process.stderr.write(
      `${name} is not what src/config/schema/ says: run "npm run generate" and commit it.\n`,
    );
    process.exitCode = 1;
  }
}
