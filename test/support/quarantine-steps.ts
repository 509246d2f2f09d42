import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { FileHandle } from 'node:fs/promises';
import { openCleanFolder } from '../../src/clean/quarantine/clean-folder.ts';
import type { Disk } from '../../src/clean/quarantine/disk.ts';
import {
  dataPath,
  layerPath,
  revisionPath,
  type Item,
  type LinkFile,
} from '../../src/clean/quarantine/item.ts';
import { findPurgeable, purgeRuns } from '../../src/clean/quarantine/purge.ts';
import { openQuarantine } from '../../src/clean/quarantine/quarantine.ts';
import { recoverAll } from '../../src/clean/quarantine/recovery.ts';
import { undoRun, type UndoSummary } from '../../src/clean/quarantine/undo.ts';

/** Takes everything that a storage has, in the order of a run. Deletes links as a registry does. */
export async function takeEverything(root: string, disk: Disk): Promise<string> {
  const folder = await openCleanFolder(root, disk);
  await recoverAll(folder, { nowMs: Date.now(), graceMs: 0 });
  const quarantine = await openQuarantine(folder, { version: 'test', nowMs: Date.now() });
  try {
    for (const items of listItems(root)) {
      const numbers = await quarantine.intend(items);
      for (const item of items) {
        if (item.what === 'tag' || item.what === 'data') await quarantine.move(item);
        else for (const file of item.files) await disk.unlink(path.join(root, file.path));
      }
      for (const [index, item] of items.entries()) quarantine.tell(numbers[index] ?? -1, item, 'taken');
    }
  } catch (error) {
    await quarantine.end('failed', String(error), Date.now()).catch(() => {});
    throw error;
  }
  await quarantine.end('done', null, Date.now());
  return quarantine.run;
}

export async function undoEverything(root: string, disk: Disk): Promise<UndoSummary[]> {
  const folder = await openCleanFolder(root, disk);
  await recoverAll(folder, { nowMs: Date.now(), graceMs: 0 });
  const summaries: UndoSummary[] = [];
  for (const run of readdirSync(path.join(folder.path, 'runs')))
    summaries.push(
      await undoRun({
        folder,
        run,
        keepMs: 60_000,
        graceMs: 0,
        nowMs: Date.now,
        signal: new AbortController().signal,
        locked: (_keys, work) => work(),
        onProgress: () => {},
      }),
    );
  return summaries;
}

export async function purgeEverything(root: string, disk: Disk): Promise<void> {
  const folder = await openCleanFolder(root, disk);
  await recoverAll(folder, { nowMs: Date.now(), graceMs: 0 });
  const nowMs = Date.now() + 120_000; // nothing is safe any more
  await purgeRuns(folder, await findPurgeable(folder, { endedBeforeMs: nowMs, nowMs }));
}

/** What a storage has: tags, then manifests and layers, then data; each list is intended at once. */
export function listItems(root: string): Item[][] {
  const registry = path.join(root, 'docker/registry/v2');
  const [tags, links, data]: [Item[], Item[], Item[]] = [[], [], []];
  for (const entry of readdirSync(registry, { recursive: true, withFileTypes: true })) {
    const at = path.relative(registry, path.join(entry.parentPath, entry.name));
    const [, tagged, tag] = /^repositories\/(.*)\/_manifests\/tags\/([^/]+)\/current\/link$/.exec(at) ?? [];
    if (tagged !== undefined && tag !== undefined) {
      const digest = readFileSync(path.join(registry, at), 'utf8');
      tags.push({ what: 'tag', repository: tagged, tag, digest });
    }
    const [, repository, kind, hex] =
      /^repositories\/(.*)\/(_layers|_manifests\/revisions)\/sha256\/([^/]+)\/link$/.exec(at) ?? [];
    if (repository !== undefined && hex !== undefined) {
      const what = kind === '_layers' ? 'layer' : 'manifest';
      const digest = `sha256:${hex}`;
      const place = (what === 'layer' ? layerPath : revisionPath)(repository, digest);
      links.push({ what, repository, digest, files: [readLink(root, place)] });
    }
    const [, blob] = /^blobs\/sha256\/..\/([^/]+)\/data$/.exec(at) ?? [];
    if (blob !== undefined) {
      const digest = `sha256:${blob}`;
      const { size } = statSync(path.join(root, dataPath(digest), 'data'));
      data.push({ what: 'data', digest, bytes: size });
    }
  }
  return [tags, links, data].filter((items) => items.length > 0);
}

function readLink(root: string, place: string): LinkFile {
  const { mode, mtimeMs } = statSync(path.join(root, place));
  const content = readFileSync(path.join(root, place), 'utf8');
  return { path: place, content, mode: mode & 0o7777, mtimeMs };
}

/** The disk, which does something before each step, and in the middle of each append. */
export function watchDisk(disk: Disk, onStep: (name: string) => void): Disk {
  const before =
    <Args extends unknown[], Result>(name: string, act: (...args: Args) => Promise<Result>) =>
    (...args: Args) => {
      onStep(name);
      return act(...args);
    };
  return {
    makeFolder: before('makeFolder', disk.makeFolder),
    append: async (file: FileHandle, text: string) => {
      onStep('append');
      const half = Math.ceil(text.length / 2);
      await disk.append(file, text.slice(0, half));
      onStep('rest of append');
      await disk.append(file, text.slice(half));
    },
    create: before('create', disk.create),
    createUnsynced: before('createUnsynced', disk.createUnsynced),
    rename: before('rename', disk.rename),
    link: before('link', disk.link),
    unlink: before('unlink', disk.unlink),
    removeTree: before('removeTree', disk.removeTree),
    syncFolder: before('syncFolder', disk.syncFolder),
  };
}
