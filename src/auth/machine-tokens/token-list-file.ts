import { LRUCache } from 'lru-cache';
import { countedUpTo } from '../../system/counted.ts';
import { describeReadError } from '../../system/files/file-status.ts';
import {
  followFile,
  readFileContent,
  type FileContent,
  type FollowedFile,
  type FollowLogger,
} from '../../system/files/followed-file.ts';
import { OperatorError } from '../../system/operator-error.ts';
import {
  emptyTokenList,
  maxTokenListBytes,
  parseTokenList,
  type CheckPattern,
  type TokenEntry,
  type TokenList,
} from './token-list.ts';

/** A file of machine tokens that is watched: every answer is of the content in effect now. */
export type TokenListFile = Pick<FollowedFile<TokenList>, 'reread' | 'close'> & {
  find(name: string): TokenEntry | undefined;
  findByHash(sha256: string): TokenEntry | undefined;
  /** Whether the file has the name, if only in an entry that never matches, or had it not long ago. */
  hasHeardOf(name: string): boolean;
  /** All tokens in effect. */
  all(): readonly TokenEntry[];
};

const maxProblemsNamed = 20;
/** So many names are remembered that the file had in effect, those in it too. */
const maxNames = 100_000;

/** Reads a file of machine tokens; one that does not exist has none. @throws OperatorError when it cannot be used */
export async function loadTokenList(
  path: string,
  checkPattern: CheckPattern,
): Promise<{ list: TokenList; mode: number }> {
  try {
    const content = await read(path);
    return { list: parse(content, checkPattern), mode: content.mode };
  } catch (error) {
    throw explain(path, error);
  }
}

/**
 * Loads a file of machine tokens and follows its changes, in effect within a second. One that is removed has no tokens any more; one that
 * cannot be read or parsed as a whole keeps those that were read last, as the htpasswd file does.
 *
 * @throws OperatorError when it is there and cannot be used
 */
export async function openTokenListFile(options: {
  path: string;
  checkPattern: CheckPattern;
  /** Whether its tokens are those that users made for themselves: one without an owner never matches. */
  isPersonal?: boolean;
  logger: FollowLogger;
}): Promise<TokenListFile> {
  const { path, checkPattern, isPersonal = false, logger } = options;
  const names = new LRUCache<string, true>(countedUpTo(maxNames));
  const file = await followFile({
    path,
    name: 'file of machine tokens',
    lastGood: 'the machine tokens that were read last stay in effect',
    read,
    parse: (content) => {
      const read = parse(content, checkPattern);
      const list = isPersonal ? toPersonal(read) : read;
      const byHash = new Map([...list.entries.values()].map((entry) => [entry.sha256, entry]));
      return { list, byHash, mode: content.mode };
    },
    explain: (error) => explain(path, error),
    describe: ({ list }) => ({ tokens: list.entries.size }),
    warn: ({ list, mode }) => {
      for (const name of [...list.entries.keys(), ...list.problems.flatMap((problem) => problem.name ?? [])])
        names.set(name, true);
      for (const sentence of describeTokenList(path, list, mode)) logger.warn({ path }, sentence);
    },
    logger,
  });
  return {
    find: (name) => file.value().list.entries.get(name),
    findByHash: (sha256) => file.value().byHash.get(sha256),
    hasHeardOf: (name) => names.has(name),
    all: () => [...file.value().list.entries.values()],
    reread: file.reread,
    close: file.close,
  };
}

/** What is not as it should be in a file of machine tokens, a sentence each. */
export function describeTokenList(path: string, { problems }: TokenList, mode: number): string[] {
  const sentences: string[] = [];
  if (problems.length > 0) {
    const named = problems.slice(0, maxProblemsNamed).map(({ line, reason }) => `line ${line}: ${reason}`);
    if (problems.length > named.length) named.push(`and ${problems.length - named.length} more`);
    sentences.push(`The file of machine tokens ${path} has entries that never match: ${named.join('; ')}.`);
  }
  if ((mode & 0o006) !== 0)
    sentences.push(
      `The file of machine tokens ${path} can be ${(mode & 0o002) === 0 ? 'read' : 'changed'} by other users of this machine: chmod o= ${path}`,
    );
  return sentences;
}

async function read(path: string): Promise<FileContent> {
  try {
    return await readFileContent(path, maxTokenListBytes);
  } catch (error) {
    // ENOTDIR: state.dir is no folder. Then nothing is kept there, tokens neither.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    return { digest: 'none', bytes: Buffer.alloc(0), mode: 0, signature: describeReadError(error) };
  }
}

function parse({ bytes }: FileContent, checkPattern: CheckPattern): TokenList {
  return bytes.length === 0 ? emptyTokenList : parseTokenList(bytes, checkPattern);
}

function toPersonal({ entries, problems }: TokenList): TokenList {
  const personal = [...entries].flatMap(([name, entry]) => {
    const { principal } = entry;
    if (principal.grant.owner === null) return [];
    const grant = { ...principal.grant, isPersonal: true } as const;
    return [[name, { ...entry, principal: { ...principal, grant } }] as const];
  });
  return { entries: new Map(personal), problems };
}

function explain(path: string, error: unknown): OperatorError {
  return new OperatorError(`The file of machine tokens ${path} cannot be used: ${describeReadError(error)}.`);
}
