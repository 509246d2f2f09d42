import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../test/support/processes.ts';

/** One package as package-lock.json has it. */
export type LockedPackage = {
  /** Where it is installed, as in `node_modules/pino`. */
  readonly folder: string;
  readonly name: string;
  readonly version: string;
  /** Of what is downloaded, as in Subresource Integrity. */
  readonly integrity?: string;
  /** Where it is downloaded from; none: the registry that npm is configured for. */
  readonly resolved?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly hasInstallScript?: boolean;
};

/** Reads package-lock.json, or another file of its form, without the package that it belongs to. */
export function loadLockedPackages(file = path.join(root, 'package-lock.json')): LockedPackage[] {
  const { packages } = JSON.parse(readFileSync(file, 'utf8')) as {
    packages: Record<string, Omit<LockedPackage, 'folder' | 'name'>>;
  };
  return Object.entries(packages)
    .filter(([folder]) => folder !== '')
    .map(([folder, entry]) => ({ ...entry, folder, name: nameOf(folder) }));
}

function nameOf(folder: string): string {
  return folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
}
