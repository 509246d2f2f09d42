import type { Stats } from 'node:fs';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';
import type { DirectoryWatch } from './directory-watch.ts';
import { createFaultList, type FaultList } from './fault-list.ts';
import { readStatus } from './file-status.ts';
import { ManifestReader } from './manifest-reader.ts';
import { createPacedRunner, type PaceOptions, type Steps } from './paced-steps.ts';
import type { LayerScan, ManifestScan, NamedBlobScan, RepositoryScan, TagScan } from './scan-types.ts';
import { repositoriesPath } from './storage-paths.ts';
import { readFolder, readStoredLink, sayUnreadable } from './stored-links.ts';

export type RepositoryScanOptions = {
  /** Remembers manifests from one scan to the next. */
  readonly manifests?: ManifestReader;
  /**
   * Gets the folders in which a link can come or go, and the tags' links, before they are read. A folder that a removed
   * link left behind is one too, since the link can come back without a change of any other folder.
   */
  readonly watch?: DirectoryWatch;
  /** Of folders without a link, only those of these digests are watched; all by default. */
  readonly watchedDigests?: { has(digest: string): boolean };
};

/** Other algorithms' folders can be nested, as those of `tarsum` in the storages of the first registries. */
const flatAlgorithms = new Set(['sha256', 'sha384', 'sha512']);
const maxNesting = 4;
/** What a digest takes that a manifest names, while its repository is looked at. */
const bytesOfName = 100;

/**
 * Reads what one repository has. One that does not exist has nothing.
 * @param root the registry's root directory.
 */
export function scanRepository(
  root: string,
  name: string,
  options: RepositoryScanOptions & PaceOptions = {},
): Promise<RepositoryScan> {
  return createPacedRunner(options).run(scanRepositorySteps(root, name, options, () => {}));
}

type Link = Pick<LayerScan, 'digest' | 'linkedAs' | 'isReadable' | 'linkMtimeMs'>;
type Place = {
  readonly root: string;
  readonly path: string;
  readonly faults: FaultList;
  readonly options: RepositoryScanOptions;
  readonly onLink: () => void;
};

/** @param onLink is called for each link. */
export function* scanRepositorySteps(
  root: string,
  name: string,
  options: RepositoryScanOptions,
  onLink: () => void,
): Steps<RepositoryScan> {
  const path = `${root}/${repositoriesPath}/${name}`;
  const faults = createFaultList(root);
  const place: Place = { root, path, faults, options, onLink };
  const manifestReader = options.manifests ?? new ManifestReader(root);
  if (!isRepositoryName(name)) faults.add(path, 'is not the name of a repository', 'repository');
  options.watch?.add(path);
  const hasManifests = isFolder(place, `${path}/_manifests`);
  const tags = hasManifests ? yield* scanTags(place) : null;
  const links = hasManifests ? yield* scanLinks(place, `${path}/_manifests/revisions`) : [];
  const manifests: ManifestScan[] = [];
  let names = 0;
  for (const link of links) {
    const { bytes, mtimeMs, content, fault } = manifestReader.read(link.digest);
    if (fault !== null) faults.add(`${path} ${link.digest}`, fault.why, 'repository');
    names += content?.named.length ?? 0;
    manifestReader.memory.check(names * bytesOfName);
    const lostTagMs = tags?.lostMs.get(link.digest) ?? null;
    manifests.push({ ...link, dataMtimeMs: mtimeMs, bytes, content, lostTagMs });
    yield;
  }
  const layers = isFolder(place, `${path}/_layers`) ? yield* scanLinks(place, `${path}/_layers`) : [];
  const found = { tags: tags?.tags ?? [], manifests, layers };
  const namedBlobs = yield* scanNamedBlobs(place, manifestReader, found);
  return {
    name,
    ...found,
    namedBlobs,
    faults: faults.list(),
    tagsFolderMtimeMs: tags?.folderMtimeMs ?? null,
  };
}

/** Whether there is such a folder: one of those that hold the registry's links. */
function isFolder({ faults, options }: Place, path: string): boolean {
  options.watch?.add(path);
  try {
    const status = readStatus(path);
    if (status === null || status.isDirectory()) return status !== null;
    refuseEntry(faults, path, status);
  } catch (error) {
    faults.add(path, sayUnreadable(error), 'storage');
  }
  return false;
}

/** Where a folder should be: behind a symbolic link could be links that are in use; no other file can hold any. */
export function refuseEntry(
  faults: FaultList,
  path: string,
  entry: Pick<Stats, 'isSymbolicLink' | 'isDirectory'>,
): void {
  if (entry.isSymbolicLink()) faults.add(path, 'is a symbolic link, and none is followed', 'storage');
  else faults.add(path, 'is not a folder', 'itself');
}

/** Runs through a folder; one that cannot be read may hold links that are in use. */
function* eachEntry({ faults, options }: Place, path: string) {
  options.watch?.add(path);
  try {
    yield* readFolder(path);
  } catch (error) {
    faults.add(path, sayUnreadable(error), 'storage');
  }
}

/** Reads the links below a folder with a folder for each algorithm. */
function* scanLinks(place: Place, folder: string): Steps<Link[]> {
  const links: Link[] = [];
  if (!isFolder(place, folder)) return links;
  for (const algorithm of eachEntry(place, folder)) {
    const path = `${folder}/${algorithm.name}`;
    if (!algorithm.isDirectory()) refuseEntry(place.faults, path, algorithm);
    else yield* scanAlgorithm(place, path, [algorithm.name], links);
  }
  return links;
}

function* scanAlgorithm(place: Place, folder: string, names: readonly string[], links: Link[]): Steps<void> {
  const { faults, options, onLink } = place;
  const prefix = `${names.join('+')}:`;
  const isFlat = flatAlgorithms.has(prefix.slice(0, -1));
  for (const entry of eachEntry(place, folder)) {
    yield;
    const path = `${folder}/${entry.name}`;
    const linkedAs = prefix + entry.name;
    const isWatched = options.watchedDigests?.has(linkedAs) ?? true;
    if (isWatched && options.watch !== undefined) options.watch.add(path);
    const link = readStoredLink(`${path}/link`);
    if (link !== null) {
      onLink();
      if (link.fault !== null) faults.add(`${path}/link`, link.fault, 'itself');
      const isReadable = link.digest !== null;
      links.push({ digest: link.digest ?? linkedAs, linkedAs, isReadable, linkMtimeMs: link.mtimeMs });
    } else if (!isFlat) {
      if (!entry.isDirectory()) refuseEntry(faults, path, entry);
      else if (names.length === maxNesting) faults.add(path, 'is nested too deeply', 'storage');
      else yield* scanAlgorithm(place, path, [...names, entry.name], links);
    }
  }
}

type TagsScan = {
  readonly tags: readonly TagScan[];
  /** When each manifest lost the last of the tags that were moved away from it. */
  readonly lostMs: ReadonlyMap<string, number>;
  readonly folderMtimeMs: number;
};

function* scanTags(place: Place): Steps<TagsScan | null> {
  const { path, faults, options, onLink } = place;
  const folder = `${path}/_manifests/tags`;
  if (!isFolder(place, folder)) return null;
  const tags: TagScan[] = [];
  const lostMs = new Map<string, number>();
  const folderMtimeMs = readStatus(folder)?.mtimeMs ?? 0;
  for (const { name } of eachEntry(place, folder)) {
    yield;
    const tag = `${folder}/${name}`;
    options.watch?.add(`${tag}/current/link`);
    const link = readStoredLink(`${tag}/current/link`);
    if (link === null) {
      options.watch?.add(tag);
      options.watch?.add(`${tag}/current`);
      continue;
    }
    onLink();
    if (!tagForm.test(name)) faults.add(tag, 'is not the name of a tag', 'repository');
    if (link.fault !== null)
      faults.add(`${tag}/current/link`, link.fault, link.digest === null ? 'repository' : 'itself');
    tags.push({ name, digest: link.digest, pushedMs: link.mtimeMs });
    yield* scanHistory(place, `${tag}/index/sha256`, link.digest, lostMs);
  }
  return { tags, lostMs, folderMtimeMs };
}

/**
 * Reads when a tag was last pushed to each manifest that it ever led to. It left one of them with the next push at the
 * latest.
 */
function* scanHistory(
  { faults, onLink }: Place,
  folder: string,
  current: string | null,
  lostMs: Map<string, number>,
): Steps<void> {
  try {
    const names: string[] = [];
    for (const { name } of readFolder(folder)) {
      onLink();
      names.push(name);
    }
    if (names.length < 2) return;
    const pushes: { readonly digest: string; readonly atMs: number }[] = [];
    for (const name of names) {
      const status = readStatus(`${folder}/${name}/link`);
      if (status !== null) pushes.push({ digest: `sha256:${name}`, atMs: status.mtimeMs });
      yield;
    }
    pushes.sort((one, other) => one.atMs - other.atMs);
    for (const [index, { digest }] of pushes.entries()) {
      const next = pushes[index + 1];
      if (digest === current || next === undefined) continue;
      lostMs.set(digest, Math.max(lostMs.get(digest) ?? 0, next.atMs));
    }
  } catch (error) {
    faults.add(folder, sayUnreadable(error), 'repository');
  }
}

/**
 * Reads those blobs that a manifest or tag names as manifests although there is no link to such a manifest: containerd
 * fetches them as blobs, and then what they name.
 */
function* scanNamedBlobs(
  { path, faults }: Place,
  manifestReader: ManifestReader,
  { tags, manifests, layers }: Pick<RepositoryScan, 'tags' | 'manifests' | 'layers'>,
): Steps<NamedBlobScan[]> {
  const seen = new Set(manifests.flatMap(({ digest, linkedAs }) => [digest, linkedAs]));
  const waiting = [
    ...tags.flatMap(({ digest }) => digest ?? []),
    ...manifests.flatMap(({ content }) => content?.manifests ?? []),
  ].filter((named) => !seen.has(named));
  if (waiting.length === 0) return [];
  const stored = new Map(
    layers.flatMap(
      ({ digest, linkedAs }) =>
        [
          [digest, digest],
          [linkedAs, digest],
        ] as const,
    ),
  );
  const found: NamedBlobScan[] = [];
  for (let named = waiting.pop(); named !== undefined; named = waiting.pop()) {
    const digest = stored.get(named);
    if (seen.has(named) || digest === undefined) continue;
    seen.add(named);
    yield;
    const { content, fault } = manifestReader.read(digest);
    if (fault !== null && !fault.isOtherData) faults.add(`${path} ${digest}`, fault.why, 'repository');
    if (content === null) continue;
    found.push({ digest: named, content });
    for (const each of content.manifests) waiting.push(each);
  }
  return found;
}
