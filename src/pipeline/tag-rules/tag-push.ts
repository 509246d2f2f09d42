import type { Leases } from '../../leases/leases.ts';
import { OciError } from '../../registry/error.ts';
import { digestForm } from '../../registry/names/digest.ts';
import { tagForm } from '../../registry/names/tag.ts';
import type { TagChange } from '../../registry/tag-change.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import { hasFormType } from '../../upstream/request-headers.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { Exchange } from '../exchange.ts';
import { readPushedDigest } from '../serve/pushed-digest.ts';
import { heldLimitMs, type WithTagLookup } from './digest-delete.ts';
import type { InSlot, Proceed } from './repository-slot.ts';
import type { TagLookup } from './tag-lookup.ts';

export type TagPushOptions = {
  readonly inSlot: InSlot;
  readonly withTagLookup: WithTagLookup;
  readonly maxManifestBytes: number;
  /** What clients are told is there; null: nobody asks. */
  readonly leases: Pick<Leases, 'note'> | null;
  /** Finds the number of the pattern that makes a tag immutable; null: none. */
  readonly patternOf: (repository: string, tag: string) => number | null;
};

/** A push of a manifest, and what it comes with. */
export type PushRequest = {
  readonly exchange: Exchange;
  readonly target: CanonicalTarget;
  readonly authentication: Authentication;
  readonly mayOverwrite: boolean;
  readonly proceed: Proceed;
};

/** The most tags that the distribution-spec allows in one request ("Pushing Manifests With Tags"). */
const maxQueryTags = 10;

/** A tag that is immutable by the pattern of this number, counted from 1. */
type ImmutableTag = { readonly tag: string; readonly pattern: number };

/**
 * Creates the function that forwards a push unless it would move an immutable tag. A repeated push of the same manifest
 * is answered here: it changes nothing.
 */
export function createTagPush({
  inSlot,
  withTagLookup,
  maxManifestBytes,
  leases,
  patternOf,
}: TagPushOptions) {
  return async (
    { exchange, target, authentication, mayOverwrite, proceed }: PushRequest,
    { repository, digest, tag, queryTags, isV1 }: Extract<TagChange, { kind: 'push' }>,
    refuse: (what: string, pattern: number) => OciError,
  ): Promise<void> => {
    checkQueryTags(exchange, queryTags);
    const immutable = (tag === null ? queryTags : [tag, ...queryTags]).flatMap((each) => {
      const pattern = patternOf(repository, each);
      return pattern === null ? [] : [{ tag: each, pattern }];
    });
    const [first] = immutable;
    if (!first) return proceed();
    if (tag !== null && queryTags.length > 0)
      throw new OciError(
        'BAD_REQUEST',
        'A push that names tags in its query has to name a digest in its path.',
      );
    const existing = await inSlot(exchange, repository, async (proceedInSlot) => {
      // A user who may overwrite also takes the lock: whoever finds a tag absent must not find it there afterwards.
      const found = mayOverwrite
        ? null
        : await withTagLookup(exchange, authentication, heldLimitMs, (lookup) =>
            findOther(lookup, immutable, digest, (each) =>
              isV1
                ? (['GET', target.rawPath] as const)
                : (['HEAD', `/v2/${repository}/manifests/${each}`] as const),
            ),
          );
      if (found === null) await proceedInSlot(proceed);
      return found;
    });
    if (existing === null) return;
    const isSame = digest === null && !isV1 && (await hasDigest(exchange, existing.digest, maxManifestBytes));
    if (exchange.res.destroyed) return;
    if (!isSame) throw refuse(`move ${repository}:${existing.tag}`, existing.pattern);
    if (existing.digest !== null) leases?.note(existing.digest);
    answerCreated(exchange, repository, existing.digest ?? '');
  };
}

/** Finds the first tag that exists and names another digest; null: none. */
async function findOther(
  lookup: TagLookup,
  tags: readonly ImmutableTag[],
  digest: string | null,
  requestFor: (tag: string) => readonly ['GET' | 'HEAD', string],
): Promise<(ImmutableTag & { readonly digest: string | null }) | null> {
  for (const each of tags) {
    const found = await lookup.find(...requestFor(each.tag));
    if (found !== null && (digest === null || found.digest !== digest))
      return { ...each, digest: found.digest };
  }
  return null;
}

/** Whether the pushed manifest exists already, as when a job runs again. */
async function hasDigest(exchange: Exchange, digest: string | null, maxBytes: number): Promise<boolean> {
  const algorithm = digest?.split(':')[0];
  if (algorithm !== 'sha256' && algorithm !== 'sha512') return false;
  const pushed = readPushedDigest(exchange, { algorithm, maxBytes });
  exchange.transfer = pushed.transfer;
  return (await pushed.digest) === digest;
}

/** Refuses what upstream could read as other tags. @throws OciError BAD_REQUEST */
function checkQueryTags({ req }: Exchange, tags: readonly string[]): void {
  if (tags.length > maxQueryTags)
    throw new OciError('BAD_REQUEST', `A push can name at most ${maxQueryTags} tags in its query.`);
  if (!tags.every((tag) => tagForm.test(tag)))
    throw new OciError('BAD_REQUEST', 'The query names a tag that is not valid.');
  if (hasFormType(req.rawHeaders))
    throw new OciError('BAD_REQUEST', 'A manifest is not a form: send its own media type as Content-Type.');
}

function answerCreated(exchange: Exchange, repository: string, digest: string): void {
  exchange.reason = 'pushed-before';
  exchange.manifestDigest = digest;
  exchange.res.writeHead(201, {
    ...exchange.answerHeaders,
    'Docker-Distribution-Api-Version': 'registry/2.0',
    ...(digestForm.test(digest) ? { 'Docker-Content-Digest': digest } : {}),
    Location: `/v2/${repository}/manifests/${digest}`,
    'Content-Length': 0,
  });
  exchange.res.end();
}
