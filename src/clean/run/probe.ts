import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { headerValues } from '../../http/raw-headers.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { DoorResponse } from '../channel/messages.ts';
import { exists } from '../quarantine/disk.ts';
import { dataPath, layerPath, registryPath, repositoryPath } from '../quarantine/item.ts';
import { askEvidence, type Holds } from './holds.ts';
import type { RunOptions } from './run-context.ts';

/** A new repository each time: nobody else has ever pushed there. */
const probeForm = /^tidegate-probe-[0-9a-f]{16}$/;
const maxTries = 20;

/**
 * Pushes a blob through a front door, finds it on disk and has it deleted: so the registry behind the front doors is the one
 * whose storage this is, no mirror, and allows deletes. Leaves nothing.
 *
 * @throws OperatorError that says what is not so
 */
export async function probeRegistry(options: RunOptions, holds: Holds): Promise<void> {
  const { root } = options.folder;
  await removeOldProbes(options);
  const repository = `tidegate-probe-${randomBytes(8).toString('hex')}`;
  const content = Buffer.from(`${repository} ${randomBytes(16).toString('hex')}\n`);
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  try {
    await push(options, repository, content, digest);
    const link = join(root, layerPath(repository, digest));
    if (!(await exists(join(root, dataPath(digest), 'data'))) || !(await exists(link)))
      throw new OperatorError(
        `What is pushed through the front door does not come to ${root} (upstream.storage): write the folder of the registry at upstream.url there.`,
      );
    const status = await remove(options, holds, repository, digest);
    if (status === 405)
      throw new OperatorError(
        'The registry allows no deletes: set storage.delete.enabled to true in its configuration, and restart it.',
      );
    if (status !== 202 || (await exists(link)))
      throw new OperatorError(
        `The registry did not delete the probe that had been pushed (it answered ${status ?? 'nothing'}): see its log.`,
      );
  } finally {
    await options.folder.disk.removeTree(join(root, repositoryPath(repository)));
    await options.folder.disk.removeTree(join(root, dataPath(digest)));
  }
}

/** Removes what a crash has left of a probe. */
async function removeOldProbes({ folder: { root, disk } }: RunOptions): Promise<void> {
  const path = join(root, registryPath, 'repositories');
  for (const name of await readdir(path)) {
    if (!probeForm.test(name) || (await exists(join(path, name, '_manifests')))) continue;
    await disk.removeTree(join(path, name));
  }
}

async function push(
  { doors }: RunOptions,
  repository: string,
  content: Buffer,
  digest: string,
): Promise<void> {
  const begun = await doors.request({
    method: 'POST',
    rawTarget: `/v2/${repository}/blobs/uploads/`,
    headers: {},
    maxBytes: 65_536,
  });
  const location = headerValues(begun.rawHeaders, 'location')[0];
  if (begun.status !== 202 || location === undefined) throw new OperatorError(explainRefusal(begun));
  const { pathname, search } = new URL(location, 'http://upstream');
  const done = await doors.request({
    method: 'PUT',
    rawTarget: `${pathname}${search === '' ? '?' : `${search}&`}digest=${encodeURIComponent(digest)}`,
    headers: { 'Content-Type': 'application/octet-stream' },
    bodyBase64: content.toString('base64'),
    maxBytes: 65_536,
  });
  if (done.status !== 201) throw new OperatorError(explainRefusal(done));
}

function explainRefusal({ status }: DoorResponse): string {
  return status === 405
    ? 'The registry takes no pushes: it is a mirror (proxy), or read-only, and cannot be cleaned so.'
    : `The registry did not take the probe that each run pushes first (it answered ${status}): see its log.`;
}

async function remove(
  options: RunOptions,
  holds: Holds,
  repository: string,
  digest: string,
): Promise<number | null> {
  for (let tries = 0; tries < maxTries; tries += 1) {
    options.signal.throwIfAborted();
    const result = await holds.hold([repository], async (lock) => {
      await askEvidence(options, {}, lock);
      return { status: await lock.deleteBlob(repository, digest) };
    });
    if (result !== null) return result.status;
  }
  throw new OperatorError(`No lock was had in ${maxTries} tries. Try again later.`);
}
