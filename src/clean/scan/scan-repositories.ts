import { createFaultList } from './fault-list.ts';
import { ManifestReader } from './manifest-reader.ts';
import { createPacedRunner, type PaceOptions } from './paced-steps.ts';
import { refuseEntry, scanRepositorySteps, type RepositoryScanOptions } from './repository-scan.ts';
import type { RepositoryScan, ScanProgress } from './scan-types.ts';
import { repositoriesPath } from './storage-paths.ts';
import { readFolder, sayUnreadable } from './stored-links.ts';

export type ScanOptions = RepositoryScanOptions &
  Omit<PaceOptions, 'onSlice'> & { readonly onProgress?: (progress: ScanProgress) => void };

/** Far more than any repository's name has; the system takes no longer paths. */
const maxNameLength = 1024;

/**
 * Reads all repositories, part by part of their names in order (`a`, `a/b`, `a-b`). A folder that could not be read
 * comes as a repository that has nothing but a fault, so that nobody who adds up what is in use passes over it.
 * @param root the registry's root directory.
 */
export async function* scanRepositories(
  root: string,
  options: ScanOptions = {},
): AsyncIterable<RepositoryScan> {
  let repositories = 0;
  let links = 0;
  const tell = () => options.onProgress?.({ repositories, links });
  const manifests = options.manifests ?? new ManifestReader(root);
  const runner = createPacedRunner({ ...options, onSlice: tell });
  const scanned = (name: string) =>
    runner.run(scanRepositorySteps(root, name, { ...options, manifests }, () => (links += 1)));
  /** Names of folders that are still to be read, the next one last. */
  const waiting = [''];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const { children, isRepository, faults } = await runner.run(readNames(root, name, options));
    if (faults.length > 0) yield { ...nothing, name, faults };
    if (isRepository) {
      const repository = await scanned(name);
      repositories += 1;
      yield repository;
    }
    for (const child of children.sort().reverse()) waiting.push(name === '' ? child : `${name}/${child}`);
  }
  tell();
}

const nothing = { tags: [], manifests: [], layers: [], namedBlobs: [], tagsFolderMtimeMs: null };

/** Reads which folders of repositories are in a folder, and whether it is itself a repository's. */
function* readNames(root: string, name: string, { watch }: ScanOptions) {
  const path = name === '' ? `${root}/${repositoriesPath}` : `${root}/${repositoriesPath}/${name}`;
  const faults = createFaultList(root);
  const children: string[] = [];
  let isRepository = false;
  watch?.add(path);
  try {
    for (const entry of readFolder(path)) {
      yield;
      if (entry.name === '_manifests' || entry.name === '_layers') isRepository = name !== '';
      if (entry.name.startsWith('_')) continue;
      const child = `${path}/${entry.name}`;
      if (!entry.isDirectory()) refuseEntry(faults, child, entry);
      else if (entry.name.includes('\ufffd')) faults.add(child, 'is not the name of a repository', 'storage');
      else if (name.length + entry.name.length >= maxNameLength) faults.add(child, 'is too long', 'storage');
      else children.push(entry.name);
    }
  } catch (error) {
    faults.add(path, sayUnreadable(error), 'storage');
  }
  return { children, isRepository, faults: faults.list() };
}
