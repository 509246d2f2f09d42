import {
  describeReadError,
  explainReadError,
  readHtpasswdContent,
  readSignature,
} from './htpasswd-content.ts';
import type { HtpasswdContent } from './htpasswd-content.ts';
import { parseHtpasswd } from './htpasswd.ts';
import type { Htpasswd, HtpasswdEntry } from './htpasswd.ts';

/** An htpasswd file that is watched: every answer is of the content in effect now. */
export type HtpasswdFile = {
  lookup(name: string): HtpasswdEntry | undefined;
  /** All entries that can match, in the file's order. */
  usable(): readonly HtpasswdEntry[];
  /** A number that grows whenever other content has come into effect. */
  generation(): number;
  close(): void;
};

type HtpasswdLogger = Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>;

const pollMs = 250;
/** A writer that never rests is not waited for longer than this many polls. */
const maxUnsettledPolls = 4;
const maxProblemsNamed = 20;

/**
 * Loads an htpasswd file and follows its changes, in effect within two seconds.
 *
 * The path is opened and its status compared at each poll, which also sees renames, the symlink swaps of Kubernetes and
 * changes over NFS (where only open() asks the server). A change is read once it has held still for one poll, since Apache's
 * htpasswd writes in place: a half-written file would lock users out for a moment.
 *
 * @throws OperatorError when the file is missing, unreadable or not an htpasswd file at all
 */
export async function openHtpasswdFile(options: {
  path: string;
  maxBcryptCost: number;
  maxShaCryptRounds: number;
  logger: HtpasswdLogger;
}): Promise<HtpasswdFile> {
  const { path, logger } = options;
  let { content, htpasswd } = await loadFirst();
  let usable = [...htpasswd.entries.values()];
  let generation = 1;
  // What the last poll saw; what has been acted upon (undefined: read again in any case); whether the last act failed.
  let seen: string | undefined;
  let settled: string | undefined = content.signature;
  let unsettledPolls = 0;
  let failing = false;
  let closed = false;
  warnOfProblems(path, htpasswd, logger);

  async function loadFirst(): Promise<{ content: HtpasswdContent; htpasswd: Htpasswd }> {
    try {
      const first = await readHtpasswdContent(path);
      return { content: first, htpasswd: parseHtpasswd(first.text, options) };
    } catch (error) {
      throw explainReadError(path, error);
    }
  }

  async function poll(): Promise<void> {
    const signature = await readSignature(path);
    if (closed || signature === settled) return;
    const moved = signature !== seen;
    seen = signature;
    if (moved && ++unsettledPolls < maxUnsettledPolls) return;
    unsettledPolls = 0;
    try {
      const next = await readHtpasswdContent(path);
      if (next.digest !== content.digest) accept(next);
      settled = next.signature;
      if (failing) logger.info({ path }, `The htpasswd file ${path} can be used again.`);
      failing = false;
    } catch (error) {
      settled = signature;
      if (!failing) {
        const reason = `The htpasswd file ${path} cannot be used (${describeReadError(error)})`;
        logger.error({ path }, `${reason}: the users that were read last stay in effect.`);
      }
      failing = true;
    }
  }

  function accept(next: HtpasswdContent): void {
    htpasswd = parseHtpasswd(next.text, options);
    usable = [...htpasswd.entries.values()];
    content = next;
    generation += 1;
    logger.info({ path, users: usable.length }, `The htpasswd file ${path} has changed: it is in effect.`);
    warnOfProblems(path, htpasswd, logger);
  }

  let timer = schedule();
  function schedule(): NodeJS.Timeout {
    return setTimeout(() => {
      void poll().finally(() => {
        if (!closed) timer = schedule();
      });
    }, pollMs).unref();
  }

  return {
    lookup: (name) => htpasswd.entries.get(name),
    usable: () => usable,
    generation: () => generation,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function warnOfProblems(path: string, htpasswd: Htpasswd, logger: Pick<HtpasswdLogger, 'warn'>): void {
  const { entries, problems } = htpasswd;
  if (problems.length > 0) {
    const named = problems.slice(0, maxProblemsNamed).map(({ line, reason }) => `line ${line}: ${reason}`);
    if (problems.length > named.length) named.push(`and ${problems.length - named.length} more`);
    const lines = problems.slice(0, maxProblemsNamed).map(({ line }) => line);
    logger.warn(
      { path, lines },
      `The htpasswd file ${path} has lines that never match: ${named.join('; ')}.`,
    );
  }
  if (entries.size === 0) logger.warn({ path }, `The htpasswd file ${path} has no user: nobody can log in.`);
}
