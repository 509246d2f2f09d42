import { digestForm } from '../../registry/names/digest.ts';
import { OciError } from '../../registry/error.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Operation } from '../../registry/operation.ts';
import { principalText } from '../../registry/principal.ts';
import { tagChangeOf, type TagChange } from '../../registry/tag-change.ts';
import { tagForm } from '../../registry/names/tag.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import type { Policy } from '../../policy/policy.ts';
import { parseTagPattern } from '../../policy/tag-pattern.ts';
import { hasFormType } from '../../upstream/headers.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import { createDigestDelete, heldLimitMs, type WithQuestions } from './digest-delete.ts';
import type { Exchange } from '../exchange.ts';
import { createKnownContents } from './known-contents.ts';
import { readPushedDigest } from '../serve/pushed-digest.ts';
import { createRepositorySlots, type Proceed, type RepositorySlotOptions } from './repository-slot.ts';
import { createTagInquiries } from './tag-inquiries.ts';
import { openTagLookup, type TagLookup, type TagQuestionsOptions } from './tag-lookup.ts';

/**
 * Calls `proceed`, which forwards a request that is none of GET and HEAD, unless it would move or delete an immutable tag, or what one names.
 * @throws OciError DENIED or BAD_REQUEST; BAD_GATEWAY, UNAVAILABLE or GATEWAY_TIMEOUT when that cannot be found out
 */
export type GuardTags = (
  exchange: Exchange,
  operation: Operation,
  target: CanonicalTarget,
  authentication: Authentication,
  proceed: Proceed,
) => Promise<void>;

export type ImmutableTagsOptions = TagQuestionsOptions &
  RepositorySlotOptions & {
    /** Patterns of immutable tags, as the configuration has them. */
    readonly patterns: readonly string[];
    /** Says who may overwrite; null: nobody may. */
    readonly policy: Policy | null;
    /** How many deletes of digests are looked into at a time. */
    readonly maxInquiries: number;
    /** What is remembered of what manifests name, in bytes. */
    readonly maxKnownBytes: number;
    /** A whole Authorization value for upstream; null for none. */
    readonly upstreamAuthorization: string | null;
  };

/** As many as the distribution-spec lets a client name in one request ("Pushing Manifests With Tags"). */
const maxQueryTags = 10;

/** A tag that is immutable by the pattern of this number, counted from 1. */
type ImmutableTag = { readonly tag: string; readonly pattern: number };

/** Creates the stage that keeps immutable tags as they are. Nothing of a request that it refuses has been told to the cache or to upstream. */
export function createImmutableTags(options: ImmutableTagsOptions): GuardTags {
  const { policy, upstreamAuthorization, lockWaitMs: waitMs, maxWaiting } = options;
  const patterns = options.patterns.map(parseTagPattern);
  const inSlot = createRepositorySlots(options);

  const patternOf = (repository: string, tag: string): number | null => {
    const index = patterns.findIndex((pattern) => pattern.matches(repository, tag));
    return index === -1 ? null : index + 1;
  };
  const findImmutable = (repository: string, tags: readonly string[]): ImmutableTag[] =>
    tags.flatMap((tag) => {
      const pattern = patternOf(repository, tag);
      return pattern === null ? [] : [{ tag, pattern }];
    });

  const withQuestions: WithQuestions = async (exchange, authentication, limitMs, act) => {
    const authorization = authorizationOf(exchange, authentication);
    const questions = openTagLookup(options, exchange, authorization, limitMs);
    try {
      return await act(questions);
    } finally {
      questions.close();
    }
  };
  const deleteDigest = createDigestDelete({
    ...{ inSlot, withQuestions, patternOf },
    inquiries: createTagInquiries({ max: options.maxInquiries, waitMs, maxWaiting }),
    known: createKnownContents(options.maxKnownBytes),
    maxManifestBytes: options.maxManifestBytes,
  });

  const guard: GuardTags = async (exchange, operation, target, authentication, proceed) => {
    const change = exchange.method === 'OPTIONS' ? null : tagChangeOf(operation);
    if (change === null) return proceed();
    if (change === 'unknown') throw deny(exchange, unknownRequest(exchange.method));
    const { repository } = change;
    const pattern = patterns.findIndex((each) => each.matchesRepository(repository)) + 1;
    if (pattern === 0) return proceed();
    const { principal } = authentication;
    const mayOverwrite = policy?.decide(principal, repository).actions.has('overwrite') === true;
    const refuse = (what: string, number: number): OciError =>
      deny(
        exchange,
        `${principalText(principal) ?? 'A client without credentials'} may not ${what}: pattern ${number} of immutableTags keeps tags there as they were pushed, and ${policy === null ? 'without a policy nobody' : 'only who has the action overwrite'} may change that.`,
      );
    switch (change.kind) {
      case 'push':
        return guardPush({ exchange, target, authentication, proceed }, change, mayOverwrite, refuse);
      case 'delete-tag': {
        const [immutable] = findImmutable(repository, [change.tag]);
        if (immutable && !mayOverwrite) throw refuse(`delete ${repository}:${change.tag}`, immutable.pattern);
        return proceed();
      }
      case 'delete-all':
        if (!mayOverwrite) throw refuse(`delete all tags of ${repository}`, pattern);
        return proceed();
      case 'delete-digest':
        if (mayOverwrite) return proceed();
        return deleteDigest({ exchange, authentication, proceed }, change, refuse);
    }
  };

  type Request = {
    readonly exchange: Exchange;
    readonly target: CanonicalTarget;
    readonly authentication: Authentication;
    readonly proceed: Proceed;
  };
  const guardPush = async (
    { exchange, target, authentication, proceed }: Request,
    { repository, digest, tag, queryTags, isV1 }: Extract<TagChange, { kind: 'push' }>,
    mayOverwrite: boolean,
    refuse: (what: string, pattern: number) => OciError,
  ): Promise<void> => {
    checkQueryTags(exchange, queryTags);
    const immutable = findImmutable(repository, tag === null ? queryTags : [tag, ...queryTags]);
    const [first] = immutable;
    if (!first) return proceed();
    if (tag !== null && queryTags.length > 0)
      throw new OciError(
        'BAD_REQUEST',
        'A push that names tags in its query has to name a digest in its path.',
      );
    const existing = await inSlot(exchange, repository, async (proceedInTurn) => {
      // Who may overwrite waits for a turn, too: whoever has found a tag absent is not to find it there afterwards.
      const found = mayOverwrite
        ? null
        : await withQuestions(exchange, authentication, heldLimitMs, (questions) =>
            findOther(questions, immutable, digest, (each) =>
              isV1
                ? (['GET', target.rawPath] as const)
                : (['HEAD', `/v2/${repository}/manifests/${each}`] as const),
            ),
          );
      if (found === null) await proceedInTurn(proceed);
      return found;
    });
    if (existing === null) return;
    const isSame = digest === null && !isV1 && (await hasDigest(exchange, existing.digest));
    if (exchange.res.destroyed) return;
    if (!isSame) throw refuse(`move ${repository}:${existing.tag}`, existing.pattern);
    answerCreated(exchange, repository, existing.digest ?? '');
  };

  /** The first of the tags that exists, and does not name this very digest; null: none. */
  const findOther = async (
    questions: TagLookup,
    tags: readonly ImmutableTag[],
    digest: string | null,
    questionFor: (tag: string) => readonly ['GET' | 'HEAD', string],
  ): Promise<(ImmutableTag & { readonly digest: string | null }) | null> => {
    for (const each of tags) {
      const found = await questions.find(...questionFor(each.tag));
      if (found !== null && (digest === null || found.digest !== digest))
        return { ...each, digest: found.digest };
    }
    return null;
  };

  /** Whether what is being pushed is what is there already, as when a job runs once more. */
  const hasDigest = async (exchange: Exchange, digest: string | null): Promise<boolean> => {
    const algorithm = digest?.split(':')[0];
    if (algorithm !== 'sha256' && algorithm !== 'sha512') return false;
    const { maxManifestBytes: maxBytes } = options;
    const pushed = readPushedDigest(exchange, { algorithm, maxBytes });
    exchange.transfer = pushed.transfer;
    return (await pushed.digest) === digest;
  };

  /** As with what is forwarded: upstream's own credentials, or else a token of the first protocol. */
  const authorizationOf = ({ req }: Exchange, { keepAuthorization }: Authentication): string | null =>
    upstreamAuthorization ??
    (keepAuthorization ? (headerValues(req.rawHeaders, 'authorization')[0] ?? null) : null);

  return guard;
}

/** What could mean other tags to upstream than to whoever reads it here. @throws OciError BAD_REQUEST */
function checkQueryTags({ req }: Exchange, tags: readonly string[]): void {
  if (tags.length > maxQueryTags)
    throw new OciError('BAD_REQUEST', `A push can name at most ${maxQueryTags} tags in its query.`);
  if (!tags.every((tag) => tagForm.test(tag)))
    throw new OciError('BAD_REQUEST', 'The query names something as a tag that is none.');
  if (hasFormType(req.rawHeaders))
    throw new OciError('BAD_REQUEST', 'A manifest is no form: send its own media type as Content-Type.');
}

function answerCreated(exchange: Exchange, repository: string, digest: string): void {
  exchange.reason = 'pushed-before';
  exchange.res.writeHead(201, {
    ...exchange.answerHeaders,
    'Docker-Distribution-Api-Version': 'registry/2.0',
    ...(digestForm.test(digest) ? { 'Docker-Content-Digest': digest } : {}),
    Location: `/v2/${repository}/manifests/${digest}`,
    'Content-Length': 0,
  });
  exchange.res.end();
}

function deny(exchange: Exchange, message: string): OciError {
  exchange.reason = 'immutable-tag';
  return new OciError('DENIED', message);
}

function unknownRequest(method: string): string {
  return `This ${method} is no request of a registry's API, and it cannot be known what it would do to immutable tags.`;
}
