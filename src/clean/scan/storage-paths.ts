/** Where distribution's file system driver keeps things, below the registry's root directory. */
export const repositoriesPath = 'docker/registry/v2/repositories';
export const blobsPath = 'docker/registry/v2/blobs';

/** A digest as registries write it into links: in lower case, sha256 with all its digits. */
const writtenDigest = /^(?:sha256:[0-9a-f]{64}|(?!sha256:)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]{32,256})$/;

export function isWrittenDigest(text: string): boolean {
  return writtenDigest.test(text);
}

/** The folder of a digest's data. */
export function dataFolder(root: string, digest: string): string {
  const colon = digest.indexOf(':');
  const hex = digest.slice(colon + 1);
  return `${root}/${blobsPath}/${digest.slice(0, colon)}/${hex.slice(0, 2)}/${hex}`;
}
