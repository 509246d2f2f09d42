import { readStatus } from './file-status.ts';
import { createPacedRunner, type PaceOptions, type Steps } from './paced-steps.ts';
import { blobsPath, dataFolder, isWrittenDigest } from './storage-paths.ts';
import { readFolder } from './stored-links.ts';

/** A blob's data. */
export type BlobStatus = { readonly bytes: number; readonly mtimeMs: number };

/** Null: missing, or nothing that a registry would have stored. */
export function statBlob(root: string, digest: string): BlobStatus | null {
  if (!isWrittenDigest(digest)) return null;
  const status = readStatus(`${dataFolder(root, digest)}/data`);
  return status?.isFile() ? { bytes: status.size, mtimeMs: status.mtimeMs } : null;
}

/**
 * Lists the data of all blobs, in no order. Passes over what no registry stores: other names, files in the place of
 * folders, symbolic links, folders without data.
 * @param root the registry's root directory.
 */
export async function* listBlobs(
  root: string,
  options: PaceOptions = {},
): AsyncIterable<BlobStatus & { readonly digest: string }> {
  const runner = createPacedRunner(options);
  for (const algorithm of await runner.run(listFolders(`${root}/${blobsPath}`)))
    for (const start of await runner.run(listFolders(`${root}/${blobsPath}/${algorithm}`)))
      yield* await runner.run(listWithStart(root, algorithm, start));
}

function* listFolders(path: string): Steps<string[]> {
  const names: string[] = [];
  for (const entry of readFolder(path)) {
    if (entry.isDirectory()) names.push(entry.name);
    yield;
  }
  return names;
}

function* listWithStart(root: string, algorithm: string, start: string) {
  const found: (BlobStatus & { digest: string })[] = [];
  for (const entry of readFolder(`${root}/${blobsPath}/${algorithm}/${start}`)) {
    const digest = `${algorithm}:${entry.name}`;
    if (entry.isDirectory() && entry.name.startsWith(start)) {
      const status = statBlob(root, digest);
      if (status !== null) found.push({ digest, ...status });
    }
    yield;
  }
  return found;
}
