import {
  followFile,
  readFileContent,
  type FollowedFile,
  type FollowLogger,
} from '../../system/files/followed-file.ts';
import { explainReadError } from './htpasswd-content.ts';
import { decodeHtpasswd, maxHtpasswdBytes } from './htpasswd-text.ts';
import { parseHtpasswd } from './htpasswd.ts';
import type { Htpasswd, HtpasswdEntry } from './htpasswd.ts';

/** An htpasswd file that is followed: every result is of the content in effect. */
export type HtpasswdFile = Pick<FollowedFile<Htpasswd>, 'generation' | 'reread' | 'close'> & {
  lookup(name: string): HtpasswdEntry | undefined;
  /** All entries that can match, in the file's order. */
  usable(): readonly HtpasswdEntry[];
};

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
  logger: FollowLogger;
}): Promise<HtpasswdFile> {
  const { path, logger } = options;
  const file = await followFile({
    path,
    name: 'htpasswd file',
    lastGood: 'the users that were read last stay in effect',
    read: (from) => readFileContent(from, maxHtpasswdBytes),
    parse: ({ bytes }) => {
      const htpasswd = parseHtpasswd(decodeHtpasswd(bytes), options);
      return { ...htpasswd, usable: [...htpasswd.entries.values()] };
    },
    explain: (error) => explainReadError(path, error),
    describe: ({ usable }) => ({ users: usable.length }),
    warn: (htpasswd) => warnOfProblems(path, htpasswd, logger),
    logger,
  });
  return {
    lookup: (name) => file.value().entries.get(name),
    usable: () => file.value().usable,
    generation: file.generation,
    reread: file.reread,
    close: file.close,
  };
}

function warnOfProblems(path: string, htpasswd: Htpasswd, logger: Pick<FollowLogger, 'warn'>): void {
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
