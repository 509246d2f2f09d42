import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createMachineToken, hashMachineToken } from '../../auth/machine-tokens/machine-token.ts';
import { addToken, removeToken } from '../../auth/machine-tokens/token-list-editor.ts';
import { loadTokenList } from '../../auth/machine-tokens/token-list-file.ts';
import { readTokenUses, usesPathOf, type TokenUse } from '../../auth/machine-tokens/token-uses.ts';
import { tokenActions, type TokenEntry, type TokenList } from '../../auth/machine-tokens/token-list.ts';
import type { Policy } from '../../policy/decision.ts';
import { checkGrantPattern } from '../../policy/token-grants.ts';
import type { Action } from '../../registry/access.ts';
import { tokenNameForm } from '../../registry/names/token-name.ts';
import type { User } from '../../registry/principal.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { untilInEffect } from './in-effect.ts';

/** A machine token of a user, as its owner sees it. */
export type OwnToken = {
  readonly name: string;
  readonly repositories: readonly string[];
  readonly actions: readonly Action[];
  readonly createdMs: number | null;
  readonly expiresMs: number | null;
  readonly lastUse: TokenUse | null;
  /** Those that operators made can be revoked by operators only. */
  readonly isOwn: boolean;
};

/** What a token is to be, as a form has it. */
export type TokenDraft = {
  readonly name: string;
  /** Patterns, with commas, spaces or line ends between them; empty: everywhere. */
  readonly repositories: string;
  readonly actions: readonly string[];
  /** 0: it never expires. */
  readonly days: number;
};

export type TokenFault = 'name' | 'taken' | 'repositories' | 'actions' | 'tooMany';

/** The machine tokens that users make for themselves. */
export type OwnTokens = {
  /** Whether the file of them can be written. */
  canChange(): Promise<boolean>;
  list(owner: string): Promise<readonly OwnToken[]>;
  /** Gives the token, which is shown this once. @throws OperatorError when it cannot be written */
  make(owner: User, draft: TokenDraft): Promise<{ token: string; entry: TokenEntry } | { fault: TokenFault }>;
  /** Whether there was such a token of this owner. @throws OperatorError when it cannot be written */
  revoke(owner: string, name: string): Promise<boolean>;
};

/** So many tokens a user may have made. */
const maxTokens = 20;
const maxPatterns = 20;
const maxPatternLength = 255;
const maxDays = 3650;
/** Tokens of all users together that the file may have. */
const maxAllTokens = 20_000;
const dayMs = 24 * 60 * 60 * 1000;

/**
 * @param options file: where they are kept; operators: the file of those that operators made; policy: null where every user may do
 *   everything
 */
export function createOwnTokens(options: {
  file: string;
  operators: string;
  /** What this process has read of both files last. */
  inEffect: Readonly<Record<'personal' | 'operators', { all(): readonly TokenEntry[] }>>;
  hasUser: (name: string) => boolean;
  /** Whether a token is in effect in this process. */
  isInEffect: (name: string) => boolean;
  policy: Pick<Policy, 'mayAnywhere'> | null;
  now: () => number;
}): OwnTokens {
  const { file, operators, inEffect, hasUser, isInEffect, policy, now } = options;
  const edited = { file, model: file, checkPattern: checkGrantPattern };
  const load = async (path: string): Promise<TokenList> =>
    (await loadTokenList(path, checkGrantPattern)).list;

  const findFault = async (
    owner: User,
    name: string,
    actions: readonly Action[],
  ): Promise<TokenFault | null> => {
    if (!tokenNameForm.test(name)) return 'name';
    if (actions.length === 0) return 'actions';
    if (actions.some((action) => policy?.mayAnywhere(owner, action) === false)) return 'actions';
    return hasUser(name) || (await load(operators)).entries.has(name) ? 'taken' : null;
  };

  return {
    canChange: () => canWrite(dirname(file)),
    list: async (owner) => {
      const uses = await readTokenUses(usesPathOf(operators)).catch(() => null);
      const show = (isOwn: boolean) => (entry: TokenEntry) =>
        showToken(entry, isOwn, uses?.used.get(entry.principal.name) ?? null);
      const { personal, operators: others } = inEffect;
      return [
        ...ownedBy(personal.all(), owner).map(show(true)),
        ...ownedBy(others.all(), owner).map(show(false)),
      ];
    },
    make: async (owner, draft) => {
      const actions = tokenActions.filter((action) => draft.actions.includes(action));
      const repositories = parsePatterns(draft.repositories);
      const fault = await findFault(owner, draft.name, actions);
      if (fault !== null) return { fault };
      if (repositories === null) return { fault: 'repositories' };
      const days = Number.isInteger(draft.days) ? Math.min(Math.max(draft.days, 0), maxDays) : 90;
      const token = createMachineToken();
      const createdMs = now();
      const grant = { repositories, actions, owner: owner.name };
      const entry: TokenEntry = {
        principal: { kind: 'token', name: draft.name, grant },
        sha256: hashMachineToken(token),
        createdMs,
        expiresMs: days === 0 ? null : createdMs + days * dayMs,
      };
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      try {
        await addToken(edited, entry, (list) => checkRoom(list, owner, draft.name));
      } catch (error) {
        if (error instanceof NoRoomError) return { fault: error.fault };
        throw error;
      }
      await untilInEffect(() => isInEffect(draft.name));
      return { token, entry };
    },
    revoke: async (owner, name) => {
      const entry = (await load(file)).entries.get(name);
      if (entry?.principal.grant.owner !== owner) return false;
      await removeToken(edited, name);
      await untilInEffect(() => !isInEffect(name));
      return true;
    },
  };
}

/** The file has such a token already, or as many as it may have. */
class NoRoomError extends OperatorError {
  readonly fault: TokenFault;

  constructor(fault: TokenFault) {
    super(`No further token is written: ${fault}.`);
    this.fault = fault;
  }
}

/** @throws NoRoomError */
function checkRoom(list: TokenList, owner: User, name: string): void {
  if (list.entries.has(name)) throw new NoRoomError('taken');
  if (
    list.entries.size >= maxAllTokens ||
    ownedBy([...list.entries.values()], owner.name).length >= maxTokens
  )
    throw new NoRoomError('tooMany');
}

function ownedBy(entries: readonly TokenEntry[], owner: string): readonly TokenEntry[] {
  return entries.filter(({ principal }) => principal.grant.owner === owner);
}

function showToken({ principal, ...entry }: TokenEntry, isOwn: boolean, lastUse: TokenUse | null): OwnToken {
  const { name, grant } = principal;
  const { createdMs, expiresMs } = entry;
  return {
    name,
    repositories: grant.repositories,
    actions: grant.actions,
    createdMs,
    expiresMs,
    lastUse,
    isOwn,
  };
}

/** Null: one of them is none. */
function parsePatterns(text: string): readonly string[] | null {
  const patterns = [...new Set(text.split(/[\s,]+/).filter((pattern) => pattern !== ''))];
  if (patterns.length === 0) return ['**'];
  if (patterns.length > maxPatterns || patterns.some(({ length }) => length > maxPatternLength)) return null;
  try {
    patterns.forEach(checkGrantPattern);
    return patterns;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

/** A folder that is missing counts as what it would be made in. */
async function canWrite(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK);
    return true;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return isMissing && dirname(folder) !== folder && canWrite(dirname(folder));
  }
}
