import { createHash } from 'node:crypto';
import { OciError } from '../../registry/error.ts';
import { readManifestContent } from '../../registry/manifest-content.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Fetched } from '../../upstream/request.ts';
import type { KnownContents, KnownManifest } from './known-contents.ts';
import { readDigest, type TagLookup } from './tag-lookup.ts';

/*
 * Finds what a tag's content reaches, which must not be deleted. The digest to delete is compared with every digest
 * named on the way, whatever its kind: `DELETE manifests/DIGEST` also deletes a configuration or a layer (distribution
 * 2.8). Only what a client pulling the tag would fetch as a manifest is followed: entries of indexes and subjects,
 * whatever their media types. A client needs a layer's bytes, not what they name. So an image of forty layers takes one
 * request.
 */

export type TagReachOptions = {
  readonly lookup: TagLookup;
  readonly known: KnownContents;
  readonly repository: string;
  readonly maxManifestBytes: number;
};

/** How many manifests are fetched at a time, each perhaps of the largest size; and how many heads, which have no body. */
const manifestsAtOnce = 4;
const headsAtOnce = 16;
/** After this many unanswered ones it gives up: the registry is not well. */
const maxUnanswered = 4;

/** A manifest to follow: a tag, or a digest that its content names. */
type Step = { readonly tag: string; readonly reference: string };
type Answered = KnownManifest | 'absent' | OciError;

/**
 * Finds the first tag whose content reaches what is to be deleted; null: none.
 * @param names all digests of what is to be deleted
 * @throws OciError BAD_GATEWAY, GATEWAY_TIMEOUT or DENIED, with the tag that could not be checked, when none of the
 * others reaches it
 */
export async function findTagOver(
  options: TagReachOptions,
  names: ReadonlySet<string>,
  tags: readonly string[],
): Promise<string | null> {
  const { lookup, repository } = options;
  const seen = new Set<string>();
  const unanswered: OciError[] = [];
  const waiting: Step[] = [];

  /** Whether the manifest is or names the digest; otherwise queues what it names. */
  const reaches = (tag: string, manifest: KnownManifest): boolean => {
    if ([...manifest.digests, ...manifest.named].some((each) => names.has(each))) return true;
    for (const reference of manifest.manifests) {
      if (seen.has(reference)) continue;
      seen.add(reference);
      waiting.push({ tag, reference });
    }
    return false;
  };

  const { moved, unmoved } = await lookAgain(options, tags);
  for (const { tag, manifest } of unmoved) if (reaches(tag, manifest)) return tag;
  waiting.push(...moved.map((tag) => ({ tag, reference: tag })));
  while (waiting.length > 0 && unanswered.length < maxUnanswered && lookup.end() === null) {
    const steps = waiting.splice(0, manifestsAtOnce);
    const answers = await Promise.all(steps.map((step) => look(options, step)));
    for (const [i, answer] of answers.entries()) {
      const { tag = '' } = steps[i] ?? {};
      if (answer instanceof OciError) unanswered.push(answer);
      else if (answer !== 'absent' && reaches(tag, answer)) return tag;
    }
  }
  const [first] = unanswered;
  if (first) throw first;
  const [next] = waiting;
  if (next) throw unanswerable(next, repository, 'there was no time left', 'GATEWAY_TIMEOUT');
  return null;
}

/** Finds the tags that still name known content; the others have to be read. */
async function lookAgain(
  { lookup, known, repository }: TagReachOptions,
  tags: readonly string[],
): Promise<{ moved: string[]; unmoved: { tag: string; manifest: KnownManifest }[] }> {
  const remembered = tags.filter((tag) => known.lastDigest(repository, tag) !== undefined);
  const unmoved: { tag: string; manifest: KnownManifest }[] = [];
  for (let i = 0; i < remembered.length; i += headsAtOnce) {
    await Promise.all(
      remembered.slice(i, i + headsAtOnce).map(async (tag) => {
        const answer = await settle(lookup, () =>
          lookup.request('HEAD', `/v2/${repository}/manifests/${tag}`),
        );
        if (answer === null || answer instanceof OciError || answer.status !== 200) return;
        const manifest = known.find(readDigest(answer.rawHeaders) ?? '');
        if (manifest) unmoved.push({ tag, manifest });
      }),
    );
  }
  const isUnmoved = new Set(unmoved.map(({ tag }) => tag));
  return { moved: tags.filter((tag) => !isUnmoved.has(tag)), unmoved };
}

/** Follows one step. A digest's bytes never change, so known ones are not fetched again. */
async function look(options: TagReachOptions, step: Step): Promise<Answered> {
  const { lookup, known, repository, maxManifestBytes } = options;
  const { tag, reference } = step;
  const isTag = tag === reference;
  const before = isTag ? undefined : known.find(reference);
  if (before) return before;
  const answer = await settle(lookup, () =>
    lookup.request('GET', `/v2/${repository}/manifests/${reference}`),
  );
  if (answer === null) {
    const what = `it has more than ${maxManifestBytes} bytes (limits.manifestBytes)`;
    return unanswerable(step, repository, what, 'DENIED');
  }
  if (answer instanceof OciError) {
    const code = answer.code === 'GATEWAY_TIMEOUT' ? answer.code : 'BAD_GATEWAY';
    return unanswerable(step, repository, answer.message.replace(/\.$/, ''), code);
  }
  // A tag without a manifest leads nowhere, and so does a digest that the registry does not have or accept.
  if (answer.status === 404 || (answer.status === 400 && !isTag)) return 'absent';
  if (answer.status === 200) {
    const { manifest, computed } = readManifest(answer);
    known.add(manifest, computed);
    if (isTag) known.noteTag(repository, tag, computed[0]);
    return manifest;
  }
  const blob = isTag || answer.status < 500 ? null : await lookAtBlob(options, reference);
  return blob ?? unanswerable(step, repository, `the registry answered ${answer.status}`, 'BAD_GATEWAY');
}

/**
 * Looks at what stands in the place of a manifest and is none: distribution 2.8 answers 500 for it, and the indexes of build caches name
 * layers like that. Gives null when that cannot be told.
 */
async function lookAtBlob(
  { lookup, known, repository, maxManifestBytes }: TagReachOptions,
  digest: string,
): Promise<KnownManifest | null> {
  const path = `/v2/${repository}/blobs/${digest}`;
  const head = await settle(lookup, () => lookup.request('HEAD', path));
  if (head === null || head instanceof OciError || head.status !== 200) return null;
  const length = Number(headerValues(head.rawHeaders, 'content-length')[0] ?? NaN);
  if (length > maxManifestBytes) {
    // Larger than any manifest: no client reads it as one.
    const leaf = { digests: [digest], named: [], manifests: [] };
    known.add(leaf, [digest]);
    return leaf;
  }
  const answer = await settle(lookup, () => lookup.request('GET', path));
  if (answer === null || answer instanceof OciError || answer.status !== 200) return null;
  const { manifest, computed } = readManifest(answer);
  if (!computed.includes(digest)) return null;
  known.add(manifest, computed);
  return manifest;
}

/** Gives all digests of what is to be deleted, by whichever algorithm it is named. @throws OciError when the registry does not say. */
export async function findNames(
  { lookup, known, repository }: Omit<TagReachOptions, 'maxManifestBytes'>,
  digest: string,
  isBlob: boolean,
): Promise<ReadonlySet<string>> {
  const own = digest.toLowerCase();
  const before = known.find(own);
  if (before) return new Set([own, ...before.digests]);
  const answer = await lookup.request('GET', `/v2/${repository}/manifests/${digest}`);
  if (answer?.status === 200) return new Set([own, ...readManifest(answer).manifest.digests]);
  if (answer?.status === 404 && !isBlob) return new Set([own]);
  const head = await lookup.request('HEAD', `/v2/${repository}/blobs/${digest}`);
  if (head?.status === 404) return new Set([own]);
  if (head?.status === 200) return new Set([own, ...namedInHead(head)]);
  if (head?.status === 400)
    throw new OciError(
      'DIGEST_INVALID',
      `The registry does not accept ${digest} as a digest: delete by the one that a push or pull shows.`,
    );
  throw new OciError(
    'BAD_GATEWAY',
    `The registry did not say what ${digest} is, so the request to delete it was refused: it answered ${head?.status ?? 'with too much'}.`,
  );
}

function readManifest(answer: Fetched): {
  readonly manifest: KnownManifest;
  /** The digests of its bytes. */
  readonly computed: readonly [string, string];
} {
  const hash = (name: string) => `${name}:${createHash(name).update(answer.body).digest('hex')}`;
  const computed = [hash('sha256'), hash('sha512')] as const;
  // The digest of a signed schema 1 manifest is not that of all of its bytes.
  const digests = new Set([...computed, ...namedInHead(answer)]);
  return { manifest: { digests: [...digests], ...readManifestContent(answer.body) }, computed };
}

function namedInHead({ rawHeaders }: Fetched): string[] {
  return headerValues(rawHeaders, 'docker-content-digest').map((digest) => digest.toLowerCase());
}

/**
 * Returns the registry's failure as a value, so that the others are still checked, or a tag can be named. @throws
 * OciError when the client has left, or no requests are left
 */
async function settle<T>(lookup: Pick<TagLookup, 'end'>, act: () => Promise<T>): Promise<T | OciError> {
  try {
    return await act();
  } catch (error) {
    const end = lookup.end();
    if (end === 'gone' || end === 'exhausted' || !(error instanceof OciError)) throw error;
    return error;
  }
}

function unanswerable(
  { tag, reference }: Step,
  repository: string,
  what: string,
  code: 'BAD_GATEWAY' | 'GATEWAY_TIMEOUT' | 'DENIED',
): OciError {
  const through = tag === reference ? '' : ` (in it ${reference})`;
  return new OciError(
    code,
    `It cannot be told what the immutable tag ${repository}:${tag} names${through}: ${what}. So nothing that it may need is deleted. A user with the action overwrite may delete it; or repair the tag, or remove it at the registry.`,
  );
}
