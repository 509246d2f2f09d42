import { tagForm } from '../../registry/names/tag.ts';
import { ConsoleError } from '../console-error.ts';
import { parseForeignObject, readTexts } from './foreign-json.ts';
import { isAttachedTag } from '../../registry/names/attached-tag.ts';
import type { RegistryClient } from './registry-client.ts';
import { isFound } from './found.ts';

const maxListBytes = 4 * 1024 * 1024;
/** To sort more would hold up other requests. */
const maxTags = 50_000;
/** Registries that give a list in parts have it read up to here. */
const maxParts = 20;

/** Reads the tags of a repository, sorted as people count: v2 before v10. Null: there is no such repository. @throws ConsoleError */
export async function readTagNames(
  client: RegistryClient,
  repository: string,
): Promise<readonly string[] | null> {
  const list = `/v2/${repository}/tags/list`;
  const tags = new Set<string>();
  let query: string | null = '';
  for (let part = 0; query !== null && part < maxParts; part++) {
    const answer = await client.ask('GET', list + query, { maxBytes: maxListBytes });
    if (!isFound(answer)) return part === 0 ? null : sortTags([...tags]);
    for (const tag of readTexts(parseForeignObject(answer.body)?.['tags']))
      if (tagForm.test(tag)) tags.add(tag);
    if (tags.size > maxTags) throw new ConsoleError('tooMuch', 'tags');
    query = nextQuery(answer.headers['link']);
  }
  return sortTags([...tags]);
}

/** The query of a Link field that leads on (RFC 8288); null: there is none. */
function nextQuery(link = ''): string | null {
  const [, query] = /^<[^?>]*(\?[^>\s]+)>;\s*rel="?next"?/.exec(link) ?? [];
  return query ?? null;
}

/** By keys that are compared as they are: a collator takes ten times as long. */
function sortTags(tags: readonly string[]): readonly string[] {
  return tags
    .map((tag) => ({ tag, key: sortKey(tag) }))
    .sort((one, other) => compare(one.key, other.key) || compare(one.tag, other.tag))
    .map(({ tag }) => tag);
}

/** In lower case, and before each number its length: so 9 comes before 10. */
function sortKey(tag: string): string {
  return tag.toLowerCase().replace(/\d+/g, (digits) => {
    const number = digits.replace(/^0+(?=\d)/, '');
    return `0${String(number.length).padStart(3, '0')}${number}`;
  });
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other);
}

/** The tags that a search finds. Those that hold what is about others are found by their beginning only. */
export function searchTags(
  tags: readonly string[],
  search: string,
): { found: readonly string[]; attached: number } {
  const wanted = search.toLowerCase();
  const showsAttached = wanted.startsWith('sha256-') || wanted.startsWith('sha512-');
  const listed = showsAttached ? tags : tags.filter((tag) => !isAttachedTag(tag));
  return {
    found: wanted === '' ? listed : listed.filter((tag) => tag.toLowerCase().includes(wanted)),
    attached: showsAttached ? 0 : tags.length - listed.length,
  };
}
