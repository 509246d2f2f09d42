import { OciError } from '../../../registry/error.ts';
import { headerValues } from '../../../http/raw-headers.ts';
import type { TagChange } from '../../../registry/tag-change.ts';
import type { Admission } from '../../authenticate/authenticate.ts';
import { whileClientStays } from '../../client-stay.ts';
import type { Exchange } from '../../exchange.ts';
import type { KnownContents } from './known-contents.ts';
import { tryAgain, type InTurn, type Proceed } from './repository-slot.ts';
import type { TagInquiries } from './tag-inquiries.ts';
import { clientGone, type TagQuestions } from './tag-lookup.ts';
import { findNames, findTagOver } from './tag-reach.ts';

export type DigestDeleteOptions = {
  readonly inTurn: InTurn;
  /** Asks upstream on behalf of a request. */
  readonly withQuestions: WithQuestions;
  readonly inquiries: TagInquiries;
  readonly known: KnownContents;
  readonly maxManifestBytes: number;
  /** The number of the pattern by which a tag is immutable; null: it is not. */
  readonly patternOf: (repository: string, tag: string) => number | null;
};

export type WithQuestions = <T>(
  exchange: Exchange,
  admission: Admission,
  limitMs: number,
  act: (questions: TagQuestions) => Promise<T>,
) => Promise<T>;

/** How long it may take to find out what the tags reach, and to look once more while others wait, in milliseconds. */
const inquiryLimitMs = 30_000;
export const heldLimitMs = 10_000;

/**
 * Creates what forwards the delete of a digest that no immutable tag of its repository reaches. That is found out before the repository
 * is locked, so that nobody waits for it; what has changed since is asked under the lock, in which a new tag cannot appear.
 */
export function createDigestDelete(options: DigestDeleteOptions) {
  const { inTurn, withQuestions, inquiries } = options;
  return async (
    { exchange, admission, proceed }: { exchange: Exchange; admission: Admission; proceed: Proceed },
    change: Extract<TagChange, { kind: 'delete-digest' }>,
    refuse: (what: string, pattern: number) => OciError,
  ): Promise<void> => {
    checkBodiless(exchange);
    const check = createCheck(options, change, refuse);
    const leave = await enter(inquiries, exchange, admission);
    try {
      await withQuestions(exchange, admission, inquiryLimitMs, check);
      await inTurn(exchange, change.repository, async (proceedInTurn) => {
        await withQuestions(exchange, admission, heldLimitMs, check);
        leave();
        await proceedInTurn(proceed);
      });
    } finally {
      leave();
    }
  };
}

/** Throws when an immutable tag reaches the digest; what is learned once is not asked again. */
function createCheck(
  { known, maxManifestBytes, patternOf }: DigestDeleteOptions,
  { repository, digest, object }: Extract<TagChange, { kind: 'delete-digest' }>,
  refuse: (what: string, pattern: number) => OciError,
): (questions: TagQuestions) => Promise<void> {
  let names: ReadonlySet<string> | undefined;
  return async (questions) => {
    const tags = await questions.listTags(repository, (tag) => patternOf(repository, tag) !== null);
    if (tags.length === 0) return;
    const reach = { questions, known, repository, maxManifestBytes };
    names ??= await findNames(reach, digest, object === 'blob');
    const tag = await findTagOver(reach, names, tags);
    if (tag === null) return;
    throw refuse(`delete ${digest}, which ${repository}:${tag} names`, patternOf(repository, tag) ?? 0);
  };
}

async function enter(
  inquiries: TagInquiries,
  exchange: Exchange,
  { identity }: Admission,
): Promise<() => void> {
  // Strangers may delete where a policy lets them; no user's name has a line feed.
  const user = identity?.name ?? `\n${exchange.clientAddress}`;
  const entered = await whileClientStays(exchange, (signal) => inquiries.enter(user, signal));
  switch (entered) {
    case null:
    case 'gone':
      throw clientGone();
    case 'late':
      throw tryAgain('Other deletes beside immutable tags have not ended in time');
    case 'crowded':
      throw tryAgain('Too many deletes of yours beside immutable tags wait already');
    default:
      return entered;
  }
}

/** A body could be sent as slowly as its client likes, while everyone else waits for the repository. @throws OciError BAD_REQUEST */
function checkBodiless({ req: { rawHeaders } }: Exchange): void {
  if (Number(headerValues(rawHeaders, 'content-length')[0] ?? 0) > 0)
    throw new OciError(
      'BAD_REQUEST',
      'A DELETE in a repository with immutable tags cannot have a body: send it without.',
    );
}
