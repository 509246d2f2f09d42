import {
  catalogPath,
  formatCatalogQuery,
  parseCatalogPage,
  readJsonObject,
  readNextQuery,
} from '../../registry/lists/catalog.ts';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';
import type { Fetched } from '../../upstream/request.ts';
import type { TagToRead } from '../findings.ts';
import type { AskedRegistry } from './asked-registry.ts';
import { createManifestReader, type ReadTag } from './read-manifest.ts';

/** One thing to read; answered in bounded time and bytes. */
export type InventoryRead =
  /** How many there are. */
  | { readonly read: 'registries' }
  /** A page of the list of one registry; `query` null: the first. */
  | { readonly read: 'catalog-page'; readonly registry: number; readonly query: string | null }
  | { readonly read: 'tag-page'; readonly repository: string; readonly query: string | null }
  | ({ readonly read: 'tag' } & TagToRead);

export type InventoryAnswers = {
  registries: number;
  'catalog-page': ReadPage;
  /** `foreign`: the registry lists what it does not hold. */
  'tag-page': ReadPage | 'absent' | 'foreign';
  tag: ReadTag;
};

/** Names, and the query of the next page. `isRefused`: the registry gives no list that can be read. */
export type ReadPage = {
  readonly names: readonly string[];
  readonly next: string | null;
  readonly isRefused: boolean;
};

export type ReadInventory = <Read extends InventoryRead>(
  read: Read,
  signal: AbortSignal,
) => Promise<InventoryAnswers[Read['read']]>;

const pageNames = '1000';
/** The longest page of a list: some 50,000 names. */
const maxPageBytes = 4 * 1024 * 1024;
const refused: ReadPage = { names: [], next: null, isRefused: true };

/** Reads what there is. @param registries those of now, with this signal; the first answers for what no other owns */
export function createInventoryReader(
  registries: (signal: AbortSignal) => readonly AskedRegistry[],
): ReadInventory {
  const readTag = createManifestReader();

  const readCatalog = async (registry: AskedRegistry | undefined, query: string | null) => {
    if (registry === undefined) return refused;
    const first = formatCatalogQuery({ n: pageNames, last: null });
    const answer = await registry.ask('GET', `${catalogPath}?${query ?? first}`, maxPageBytes);
    const page = readPage(answer, ({ rawHeaders, body }) => parseCatalogPage(rawHeaders, body));
    const names = page.names
      .filter((inner) => isRepositoryName(inner))
      .map((inner) => registry.outerName(inner))
      .filter((outer) => isRepositoryName(outer) && registry.owns(outer));
    return { ...page, names };
  };
  const readTags = async (registry: AskedRegistry, repository: string, query: string | null) => {
    if (registry.isMirror) return 'foreign';
    const path = `/v2/${repository}/tags/list`;
    const answer = await registry.ask('GET', `${path}?${query ?? `n=${pageNames}`}`, maxPageBytes);
    if (answer?.status === 404) return 'absent';
    const page = readPage(answer, ({ rawHeaders, body }) => ({
      names: parseTags(body),
      next: readNextQuery(rawHeaders),
    }));
    return { ...page, names: page.names.filter((tag) => tagForm.test(tag)) };
  };

  const read = async (read: InventoryRead, signal: AbortSignal) => {
    const all = registries(signal);
    if (read.read === 'registries') return all.length;
    if (read.read === 'catalog-page') return readCatalog(all[read.registry], read.query);
    const registry = all.find((each) => each.owns(read.repository));
    if (registry === undefined) return read.read === 'tag' ? 'useless' : 'foreign';
    if (read.read === 'tag-page') return readTags(registry, read.repository, read.query);
    return readTag(registry, read);
  };
  return read as ReadInventory;
}

function readPage(answer: Fetched | null, parse: (answer: Fetched) => Omit<ReadPage, 'isRefused'>): ReadPage {
  if (answer?.status !== 200) return refused;
  try {
    return { ...parse(answer), isRefused: false };
  } catch {
    return refused;
  }
}

function parseTags(body: Buffer): string[] {
  const { tags } = readJsonObject(body);
  return Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === 'string') : [];
}
