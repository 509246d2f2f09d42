import { existsSync, readFileSync } from 'node:fs';

/** Above dist/; one folder deeper when compiled for tests. */
const candidates = ['../../package.json', '../../../package.json'].map(
  (path) => new URL(path, import.meta.url),
);
const packageFile = candidates.find((file) => existsSync(file));

/** The program's version, from its package.json. */
export const version: string =
  packageFile === undefined
    ? 'unknown'
    : (JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }).version;
