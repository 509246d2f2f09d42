import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { removeTokensOf, type EditedTokenFile } from './token-list-editor.ts';
import type { TokenListFile } from './token-list-file.ts';

/** Where the tokens are that users made for themselves. */
export function personalTokensPath(stateDir: string): string {
  return join(stateDir, 'personal-tokens.yml');
}

/** Looks for tokens in both files. A name that operators gave is theirs: a personal token of that name is none. */
export function joinTokenLists(
  operators: TokenListFile,
  personal: TokenListFile,
): Pick<TokenListFile, 'find' | 'findByHash' | 'hasHeardOf'> {
  return {
    find: (name) => operators.find(name) ?? personal.find(name),
    findByHash: (sha256) => {
      const found = operators.findByHash(sha256);
      if (found !== undefined) return found;
      const own = personal.findByHash(sha256);
      return own === undefined || operators.find(own.principal.name) !== undefined ? undefined : own;
    },
    hasHeardOf: (name) => operators.hasHeardOf(name) || personal.hasHeardOf(name),
  };
}

/** An htpasswd file that is being saved may lack its users for a moment. */
const sweepEveryMs = 60_000;

/**
 * Takes out the tokens of users who have been gone for a minute: else somebody of that name who comes later would get them. Nothing of
 * them works meanwhile. Gives a function that ends it.
 */
export function sweepPersonalTokens(options: {
  edited: EditedTokenFile;
  tokens: Pick<TokenListFile, 'all'>;
  hasUser: (name: string) => boolean;
  logger: Record<'info' | 'warn', (fields: object, message: string) => void>;
}): () => void {
  const { edited, tokens, hasUser, logger } = options;
  let goneBefore: ReadonlySet<string> = new Set();
  let isFailing = false;
  const sweep = async (): Promise<void> => {
    const owners = new Set(tokens.all().flatMap(({ principal }) => principal.grant.owner ?? []));
    const gone = new Set([...owners].filter((owner) => !hasUser(owner)));
    const ended = [...gone].filter((owner) => goneBefore.has(owner));
    goneBefore = gone;
    for (const owner of ended) {
      try {
        const names = await removeTokensOf(edited, owner);
        isFailing = false;
        if (names.length > 0)
          logger.info(
            { owner, tokens: names },
            `Revoked the machine tokens of ${owner}, who is no user any more.`,
          );
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error;
        if (!isFailing)
          logger.warn({ owner }, `The machine tokens of ${owner} stay listed: ${error.message}`);
        isFailing = true;
      }
    }
  };
  const timer = setInterval(() => void sweep(), sweepEveryMs).unref();
  return () => clearInterval(timer);
}
