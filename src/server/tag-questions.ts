import { createHash } from 'node:crypto';
import { digestForm } from '../oci/digest.ts';
import { OciError } from '../oci/error.ts';
import { headerValues, type RawHeaders } from '../oci/raw-headers.ts';
import { tagForm } from '../oci/tag.ts';
import type { Ask, Fetched } from '../proxy/fetch.ts';
import type { Exchange } from './exchange.ts';
import { buildOwnHeaders } from './own-question.ts';

export type TagQuestionsOptions = {
  readonly ask: Ask;
  /** Of a larger manifest nothing is known, in bytes. */
  readonly maxManifestBytes: number;
  /** How many questions are asked because of one request. */
  readonly maxQuestions: number;
};

/**
 * What upstream is asked because of one request, never a cache. @throws OciError BAD_GATEWAY, GATEWAY_TIMEOUT when it does not say, and
 * DENIED when it would take too many questions.
 */
export type TagQuestions = {
  /** What a tag names, asked by its path; null: nothing. `digest` null: upstream does not say which, as in the first protocol. */
  find(method: 'GET' | 'HEAD', path: string): Promise<{ readonly digest: string | null } | null>;
  /** All tags of a repository. */
  listTags(repository: string): Promise<readonly string[]>;
  /** The first of the tags that names the digest, itself or in an index; null: none of them does. */
  findTagOver(repository: string, digest: string, tags: readonly string[]): Promise<string | null>;
  /** To be called once. */
  close(): void;
};

/** How long all of them may take together, in milliseconds. */
const allLimitMs = 30_000;
/** Of a longer list of tags, or page of one, nothing is known, in bytes. */
const maxListBytes = 16 * 1024 * 1024;
/** How many manifests are asked for at a time. */
const atOnce = 8;

/** Manifests that name no others; what is of any other kind is looked into. */
const imageTypes: ReadonlySet<unknown> = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
]);

/** @param authorization what upstream wants to see of whoever asks, a whole Authorization value; null for nothing */
export function openTagQuestions(
  { ask, maxManifestBytes, maxQuestions }: TagQuestionsOptions,
  exchange: Exchange,
  authorization: string | null,
): TagQuestions {
  const { res } = exchange;
  const headers = buildOwnHeaders(exchange, authorization);
  const asking = new AbortController();
  const { signal } = asking;
  const stop = () => asking.abort();
  let isLate = false;
  let questionsLeft = maxQuestions;
  const timer = setTimeout(() => {
    isLate = true;
    stop();
  }, allLimitMs);
  res.once('close', stop);
  if (res.destroyed) stop();

  /** Null: there is no such thing. */
  const get = async (method: 'GET' | 'HEAD', path: string, maxBytes: number): Promise<Fetched | null> => {
    questionsLeft -= 1;
    if (questionsLeft < 0)
      throw unclear(
        `that takes more than the ${maxQuestions} questions that limits.tagQuestions lets the registry be asked`,
      );
    let answer: Fetched | null;
    try {
      answer = await ask({ method, rawTarget: path, headers }, { maxBytes, signal });
    } catch (error) {
      if (isLate)
        throw new OciError('GATEWAY_TIMEOUT', `The registry did not say within ${allLimitMs} ms ${whatFor}.`);
      throw signal.aborted ? clientGone() : error;
    }
    if (answer === null) throw unclear(`what the registry says has more than ${maxBytes} bytes`);
    if (answer.status === 404) return null;
    if (answer.status !== 200)
      throw new OciError('BAD_GATEWAY', `The registry did not say ${whatFor}: it answered ${answer.status}.`);
    return answer;
  };

  const getManifest = (repository: string, reference: string) =>
    get('GET', `/v2/${repository}/manifests/${reference}`, maxManifestBytes);

  /** By whichever algorithm it is named. */
  const namesOf = async (repository: string, digest: string): Promise<ReadonlySet<string>> => {
    const found = await getManifest(repository, digest);
    return new Set([digest, digest.toLowerCase(), ...(found ? digestsOf(found) : [])]);
  };

  return {
    find: async (method, path) => {
      const found = await get(method, path, maxManifestBytes);
      return found && { digest: readDigest(found.rawHeaders) };
    },
    listTags: async (repository) => {
      const path = `/v2/${repository}/tags/list`;
      const tags: string[] = [];
      for (let query: string | null = ''; query !== null;) {
        const page: Fetched | null = await get('GET', path + query, maxListBytes);
        if (page === null) break;
        for (const tag of parseTagList(page.body)) tags.push(tag);
        query = readNextQuery(page.rawHeaders);
      }
      return tags;
    },
    findTagOver: async (repository, digest, tags) => {
      const names = await namesOf(repository, digest);
      const seen = new Set<string>();
      let waiting = tags.map((tag) => ({ tag, reference: tag }));
      while (waiting.length > 0) {
        const asked = waiting.slice(0, atOnce);
        waiting = waiting.slice(atOnce);
        const found = await Promise.all(asked.map(({ reference }) => getManifest(repository, reference)));
        for (const [i, manifest] of found.entries()) {
          const { tag = '' } = asked[i] ?? {};
          if (manifest === null) continue;
          if (digestsOf(manifest).some((each) => names.has(each))) return tag;
          for (const child of parseChildren(manifest.body)) {
            if (names.has(child.digest)) return tag;
            if (child.isImage || seen.has(child.digest)) continue;
            seen.add(child.digest);
            waiting.push({ tag, reference: child.digest });
          }
        }
      }
      return null;
    },
    close: () => {
      clearTimeout(timer);
      res.off('close', stop);
    },
  };
}

const whatFor = 'what its immutable tags name, so the request was not let through';

/** For the log: nobody reads it. */
export function clientGone(): OciError {
  return new OciError('REQUEST_TIMEOUT', 'The client has left.');
}

function unclear(why: string): OciError {
  return new OciError(
    'DENIED',
    `It could not be found out what the repository's immutable tags name: ${why}.`,
  );
}

function readDigest(rawHeaders: RawHeaders): string | null {
  const [digest, ...others] = headerValues(rawHeaders, 'docker-content-digest');
  return digest === undefined || others.length > 0 ? null : digest;
}

function digestsOf({ rawHeaders, body }: Fetched): string[] {
  const computed = ['sha256', 'sha512'].map(
    (name) => `${name}:${createHash(name).update(body).digest('hex')}`,
  );
  return [...computed, ...headerValues(rawHeaders, 'docker-content-digest')];
}

/** The manifests that an index names (image-spec, "Image Index"), as do Docker's lists; none where there is another body. */
function parseChildren(body: Buffer): { readonly digest: string; readonly isImage: boolean }[] {
  const { manifests } = parseObject(body) as { manifests?: unknown };
  if (!Array.isArray(manifests)) return [];
  return (manifests as unknown[]).flatMap((each) => {
    const { digest, mediaType } = (each ?? {}) as { digest?: unknown; mediaType?: unknown };
    return typeof digest === 'string' && digestForm.test(digest)
      ? [{ digest, isImage: imageTypes.has(mediaType) }]
      : [];
  });
}

/** distribution-spec, "Listing Tags". @throws OciError BAD_GATEWAY for anything else */
function parseTagList(body: Buffer): string[] {
  const { tags } = parseObject(body) as { tags?: unknown };
  // A repository whose last tag has gone has null.
  if (tags === null) return [];
  if (!Array.isArray(tags) || !tags.every(isTag))
    throw new OciError('BAD_GATEWAY', `The registry did not say ${whatFor}: it gave no list of tags.`);
  return tags;
}

function isTag(tag: unknown): tag is string {
  return typeof tag === 'string' && tagForm.test(tag);
}

function parseObject(body: Buffer): object {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** The query of the next page (RFC 8288); null: there is none. */
function readNextQuery(rawHeaders: RawHeaders): string | null {
  for (const link of headerValues(rawHeaders, 'link')) {
    const [, url = ''] = /<([^<>]*)>\s*;\s*rel="?next"?/i.exec(link) ?? [];
    // A page that follows, and that cannot be found, could have the very tag.
    if (url === '' && !/\bnext\b/i.test(link)) continue;
    const queryAt = url.indexOf('?');
    const query = queryAt === -1 ? '' : url.slice(queryAt);
    if (!/^\?[\x21-\x7e]+$/.test(query))
      throw new OciError(
        'BAD_GATEWAY',
        `The registry did not say ${whatFor}: a page of tags has no next one.`,
      );
    return query;
  }
  return null;
}
