import { describeReadError, isDescriptorShortage } from '../../system/file-status.ts';
import { watchFiles } from '../../system/file-watch.ts';
import { explainReadError, readHtpasswdContent } from './htpasswd-content.ts';
import type { HtpasswdContent } from './htpasswd-content.ts';
import { parseHtpasswd } from './htpasswd.ts';
import type { Htpasswd, HtpasswdEntry } from './htpasswd.ts';

/** An htpasswd file that is followed: every result is of the content in effect. */
export type HtpasswdFile = {
  lookup(name: string): HtpasswdEntry | undefined;
  /** All entries that can match, in the file's order. */
  usable(): readonly HtpasswdEntry[];
  /** A number that grows whenever new content takes effect. */
  generation(): number;
  /** Reads the file at once. @throws OperatorError when it cannot be used; nothing has changed then. */
  reread(): Promise<RereadHtpasswd>;
  close(): void;
};

/** A file that was read, and is not in effect yet. */
export type RereadHtpasswd = {
  /** Whether its content differs from the content in effect. */
  readonly isNew: boolean;
  use(): void;
};

type HtpasswdLogger = Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>;

const maxProblemsNamed = 20;

/**
 * Loads an htpasswd file and follows its changes, in effect within two seconds.
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
  let failing = false;
  warnOfProblems(path, htpasswd, logger);

  async function loadFirst(): Promise<{ content: HtpasswdContent; htpasswd: Htpasswd }> {
    try {
      const first = await readHtpasswdContent(path);
      return { content: first, htpasswd: parseHtpasswd(first.text, options) };
    } catch (error) {
      throw explainReadError(path, error);
    }
  }

  async function follow(signature: string): Promise<string | undefined> {
    try {
      const next = await readHtpasswdContent(path);
      accept(next);
      if (failing) logger.info({ path }, `The htpasswd file ${path} can be used again.`);
      failing = false;
      return next.signature;
    } catch (error) {
      if (isDescriptorShortage(error)) return undefined; // checked again as soon as there is one
      if (!failing) {
        const reason = `The htpasswd file ${path} cannot be used (${describeReadError(error)})`;
        logger.error({ path }, `${reason}: the users that were read last stay in effect.`);
      }
      failing = true;
      return signature;
    }
  }

  function accept(next: HtpasswdContent): void {
    if (next.digest === content.digest) return;
    htpasswd = parseHtpasswd(next.text, options);
    usable = [...htpasswd.entries.values()];
    content = next;
    generation += 1;
    logger.info({ path, users: usable.length }, `The htpasswd file ${path} has changed: it is in effect.`);
    warnOfProblems(path, htpasswd, logger);
  }

  async function reread(): Promise<RereadHtpasswd> {
    const before = content;
    try {
      const next = await readHtpasswdContent(path);
      return {
        isNew: next.digest !== before.digest,
        use: () => {
          if (content === before) accept(next); // otherwise newer content has taken effect meanwhile
        },
      };
    } catch (error) {
      throw explainReadError(path, error);
    }
  }

  const watch = watchFiles({ paths: () => [path], actedOn: content.signature, act: follow });
  return {
    lookup: (name) => htpasswd.entries.get(name),
    usable: () => usable,
    generation: () => generation,
    reread,
    close: () => watch.close(),
  };
}

function warnOfProblems(path: string, htpasswd: Htpasswd, logger: Pick<HtpasswdLogger, 'warn'>): void {
  const lines = htpasswd.problems.slice(0, maxProblemsNamed).map(({ line }) => line);
  const fields = lines.length === 0 ? { path } : { path, lines };
  for (const sentence of describeHtpasswd(path, htpasswd)) logger.warn(fields, sentence);
}

/** Describes the faults of an htpasswd file, a sentence each. */
export function describeHtpasswd(path: string, { entries, problems }: Htpasswd): string[] {
  const sentences: string[] = [];
  if (problems.length > 0) {
    const named = problems.slice(0, maxProblemsNamed).map(({ line, reason }) => `line ${line}: ${reason}`);
    if (problems.length > named.length) named.push(`and ${problems.length - named.length} more`);
    sentences.push(`The htpasswd file ${path} has lines that never match: ${named.join('; ')}.`);
  }
  if (entries.size === 0) sentences.push(`The htpasswd file ${path} has no user: nobody can log in.`);
  return sentences;
}
