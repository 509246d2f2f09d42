import { OciError } from '../../registry/error.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Operation } from '../../registry/operation.ts';
import { principalText } from '../../registry/principal.ts';
import { tagChangeOf } from '../../registry/tag-change.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import type { Policy } from '../../policy/decision.ts';
import { parseTagPattern } from '../../policy/tag-pattern.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import { createDigestDelete, type WithTagLookup } from './digest-delete.ts';
import type { Exchange } from '../exchange.ts';
import { createKnownContents } from './known-contents.ts';
import { createRepositorySlots, type Proceed, type RepositorySlotOptions } from './repository-slot.ts';
import { createTagInquiries } from './tag-inquiries.ts';
import { openTagLookup, type TagLookupOptions } from './tag-lookup.ts';
import { createTagPush, type TagPushOptions } from './tag-push.ts';

/**
 * Calls `proceed`, which forwards a request other than GET and HEAD, unless it would move or delete an immutable tag,
 * or delete what one names.
 * @throws OciError DENIED or BAD_REQUEST; BAD_GATEWAY, UNAVAILABLE or GATEWAY_TIMEOUT when that cannot be decided
 */
export type GuardTags = (
  exchange: Exchange,
  operation: Operation,
  target: CanonicalTarget,
  authentication: Authentication,
  proceed: Proceed,
) => Promise<void>;

export type ImmutableTagsOptions = TagLookupOptions &
  RepositorySlotOptions &
  Pick<TagPushOptions, 'leases'> & {
    /** Patterns of immutable tags, as the configuration has them. */
    readonly patterns: readonly string[];
    /** Decides who may overwrite; null: nobody. */
    readonly policy: Policy | null;
    /** How many deletes of digests are inspected at a time. */
    readonly maxInquiries: number;
    /** The memory for the digests that manifests name, in bytes. */
    readonly maxKnownBytes: number;
    /** A whole Authorization value for upstream; null for none. */
    readonly upstreamAuthorization: string | null;
  };

/** Creates the stage that protects immutable tags. Neither cache nor upstream learns of a request that it refuses. */
export function createImmutableTags(options: ImmutableTagsOptions): GuardTags {
  const { policy, upstreamAuthorization, lockWaitMs: waitMs, maxWaiting } = options;
  const patterns = options.patterns.map(parseTagPattern);
  const inSlot = createRepositorySlots(options);

  const patternOf = (repository: string, tag: string): number | null => {
    const index = patterns.findIndex((pattern) => pattern.matches(repository, tag));
    return index === -1 ? null : index + 1;
  };

  /** As with what is forwarded: upstream's own credentials, or else a token of the first protocol. */
  const authorizationOf = ({ req }: Exchange, { keepAuthorization }: Authentication): string | null =>
    upstreamAuthorization ??
    (keepAuthorization ? (headerValues(req.rawHeaders, 'authorization')[0] ?? null) : null);

  const withTagLookup: WithTagLookup = async (exchange, authentication, limitMs, act) => {
    const authorization = authorizationOf(exchange, authentication);
    const lookup = openTagLookup(options, exchange, authorization, limitMs);
    try {
      return await act(lookup);
    } finally {
      lookup.close();
    }
  };
  const { maxManifestBytes, leases } = options;
  const guarding = { inSlot, withTagLookup, patternOf, maxManifestBytes, leases };
  const push = createTagPush(guarding);
  const deleteDigest = createDigestDelete({
    ...guarding,
    inquiries: createTagInquiries({ max: options.maxInquiries, waitMs, maxWaiting }),
    known: createKnownContents(options.maxKnownBytes),
  });

  return async (exchange, operation, target, authentication, proceed) => {
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
        `${principalText(principal) ?? 'A client without credentials'} may not ${what}: pattern ${number} of immutableTags keeps tags there as they were pushed, and ${policy === null ? 'without a policy nobody' : 'only those with the action overwrite'} may change that.`,
      );
    switch (change.kind) {
      case 'push':
        return push({ exchange, target, authentication, mayOverwrite, proceed }, change, refuse);
      case 'delete-tag': {
        const immutableBy = patternOf(repository, change.tag);
        if (immutableBy !== null && !mayOverwrite)
          throw refuse(`delete ${repository}:${change.tag}`, immutableBy);
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
}

function deny(exchange: Exchange, message: string): OciError {
  exchange.reason = 'immutable-tag';
  return new OciError('DENIED', message);
}

function unknownRequest(method: string): string {
  return `This ${method} is not a request of the registry API, so it cannot be known what it would do to immutable tags.`;
}
