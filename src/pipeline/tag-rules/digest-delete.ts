import { OciError } from '../../registry/error.ts';
import { principalText } from '../../registry/principal.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { TagChange } from '../../registry/tag-change.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import { whileClientStays } from '../while-client-stays.ts';
import type { Exchange } from '../exchange.ts';
import type { KnownContents } from './known-contents.ts';
import { tryAgain, type InSlot, type Proceed } from './repository-slot.ts';
import type { TagInquiries } from './tag-inquiries.ts';
import { clientGone, type TagLookup } from './tag-lookup.ts';
import { findNames, findTagOver } from './tag-reach.ts';

export type DigestDeleteOptions = {
  readonly inSlot: InSlot;
  /** Opens a tag lookup on behalf of a request. */
  readonly withTagLookup: WithTagLookup;
  readonly inquiries: TagInquiries;
  readonly known: KnownContents;
  readonly maxManifestBytes: number;
  /** Finds the number of the pattern that makes a tag immutable; null: none. */
  readonly patternOf: (repository: string, tag: string) => number | null;
};

export type WithTagLookup = <T>(
  exchange: Exchange,
  authentication: Authentication,
  limitMs: number,
  act: (lookup: TagLookup) => Promise<T>,
) => Promise<T>;

/** The time limits of the first inspection, and of the second one while others wait, in milliseconds. */
const inspectionLimitMs = 30_000;
export const heldLimitMs = 10_000;

/**
 * Creates the function that forwards the delete of a digest which no immutable tag of its repository reaches. It
 * inspects the tags before the repository is locked, so that nobody waits. Under the lock, in which no new tag can
 * appear, it inspects only what has changed since.
 */
export function createDigestDelete(options: DigestDeleteOptions) {
  const { inSlot, withTagLookup, inquiries } = options;
  return async (
    {
      exchange,
      authentication,
      proceed,
    }: { exchange: Exchange; authentication: Authentication; proceed: Proceed },
    change: Extract<TagChange, { kind: 'delete-digest' }>,
    refuse: (what: string, pattern: number) => OciError,
  ): Promise<void> => {
    checkBodiless(exchange);
    const check = createCheck(options, change, refuse);
    const leave = await enter(inquiries, exchange, authentication);
    try {
      await withTagLookup(exchange, authentication, inspectionLimitMs, check);
      await inSlot(exchange, change.repository, async (proceedInSlot) => {
        await withTagLookup(exchange, authentication, heldLimitMs, check);
        leave();
        await proceedInSlot(proceed);
      });
    } finally {
      leave();
    }
  };
}

/** Throws when an immutable tag reaches the digest; known contents are not fetched again. */
function createCheck(
  { known, maxManifestBytes, patternOf }: DigestDeleteOptions,
  { repository, digest, object }: Extract<TagChange, { kind: 'delete-digest' }>,
  refuse: (what: string, pattern: number) => OciError,
): (lookup: TagLookup) => Promise<void> {
  let names: ReadonlySet<string> | undefined;
  return async (lookup) => {
    const tags = await lookup.listTags(repository, (tag) => patternOf(repository, tag) !== null);
    if (tags.length === 0) return;
    const reach = { lookup, known, repository, maxManifestBytes };
    names ??= await findNames(reach, digest, object === 'blob');
    const tag = await findTagOver(reach, names, tags);
    if (tag === null) return;
    throw refuse(`delete ${digest}, which ${repository}:${tag} names`, patternOf(repository, tag) ?? 0);
  };
}

async function enter(
  inquiries: TagInquiries,
  exchange: Exchange,
  { principal }: Authentication,
): Promise<() => void> {
  // Anonymous clients may delete where a policy lets them; no principal's text begins with a line feed.
  const user = principalText(principal) ?? `\n${exchange.clientAddress}`;
  const entered = await whileClientStays(exchange, (signal) => inquiries.enter(user, signal));
  switch (entered) {
    case null:
    case 'gone':
      throw clientGone();
    case 'late':
      throw tryAgain('Other deletes beside immutable tags have not ended in time');
    case 'crowded':
      throw tryAgain('Too many of your deletes beside immutable tags are waiting');
    default:
      return entered;
  }
}

/** Refuses a body: its client could send it slowly while others wait for the repository. @throws OciError BAD_REQUEST */
function checkBodiless({ req: { rawHeaders } }: Exchange): void {
  if (Number(headerValues(rawHeaders, 'content-length')[0] ?? 0) > 0)
    throw new OciError(
      'BAD_REQUEST',
      'A DELETE in a repository with immutable tags cannot have a body: send it without.',
    );
}
