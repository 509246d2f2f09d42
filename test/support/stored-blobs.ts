import { createHash } from 'node:crypto';
import { mkdir, readdir, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** The digest of a blob. */
export const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The path of a blob below the registry's root directory, as distribution's file system driver has it. */
export function dataPath(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `docker/registry/v2/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`;
}

/** The path of a repository's link to the blob. */
export const linkPath = (repository: string, digest: string): string =>
  `docker/registry/v2/repositories/${repository}/_layers/${digest.replace(':', '/')}/link`;

/** Writes a blob as the registry would, under any digest, with any bytes. */
export async function storeBlob(
  root: string,
  repository: string,
  digest: string,
  bytes: Buffer,
): Promise<void> {
  await put(path.join(root, dataPath(digest)), bytes);
  await put(path.join(root, linkPath(repository, digest)), digest);
}

async function put(file: string, content: string | Buffer): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, content);
}

/** Pushes a blob to a registry without a password; returns its digest. */
export async function pushBlob(registryUrl: string, repository: string, bytes: Buffer): Promise<string> {
  const started = await fetch(`${registryUrl}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(started.headers.get('location') ?? '', registryUrl);
  location.searchParams.set('digest', sha256(bytes));
  const put = await fetch(location, { method: 'PUT', body: new Uint8Array(bytes) });
  if (put.status !== 201) throw new Error(`the registry answered ${put.status}: ${await put.text()}`);
  return sha256(bytes);
}

/** Counts the files below a folder that a process has open (Linux, /proc), deleted ones too. */
export async function countOpenFiles(pid: number, folder: string): Promise<number> {
  const fds = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return links.filter((link) => link.startsWith(folder)).length;
}
