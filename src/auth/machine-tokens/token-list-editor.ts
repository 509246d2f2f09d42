import { tokenNameForm } from '../../registry/names/token-name.ts';
import { replaceFile } from '../../system/files/locked-file.ts';
import { OperatorError } from '../../system/operator-error.ts';
import {
  emptyTokenList,
  formatToken,
  parseTokenList,
  type CheckPattern,
  type TokenEntry,
  type TokenLines,
  type TokenList,
  type TokenProblem,
} from './token-list.ts';

/** A file of machine tokens that is to be changed; `model`: a file whose mode and owner a new one gets. */
export type EditedTokenFile = {
  readonly file: string;
  readonly model: string;
  readonly checkPattern: CheckPattern;
};

const head = `# Machine tokens, one a line. \`tidegate token\` edits this file; docs/tokens.md says what stands in it.\n`;

/**
 * Writes a new token at the end; the file is made when there is none.
 * @param check is called with what the file has while nobody else changes it; what it throws leaves the file as it is
 * @throws OperatorError when the name is taken, or the file can't be changed
 */
export function addToken(
  edited: EditedTokenFile,
  entry: TokenEntry,
  check: (list: TokenList) => void = () => {},
): Promise<void> {
  const { name } = entry.principal;
  return edit(edited, (text, list) => {
    check(list);
    if (hasTokenName(list, name))
      throw new OperatorError(
        `There is a machine token ${name} in ${edited.file}: choose another name, or \`tidegate token rotate ${name}\`.`,
      );
    const gap = text === '' || text.endsWith('\n') ? '' : '\n';
    return `${text === '' ? head : text}${gap}${formatToken(entry)}\n`;
  });
}

/** Puts another in a token's place; `renew` makes it of the present one. @throws OperatorError when there is none, or the file can't be changed */
export function replaceToken(
  edited: EditedTokenFile,
  name: string,
  renew: (entry: TokenEntry) => TokenEntry,
): Promise<void> {
  return edit(edited, (text, list) => {
    const entry = list.entries.get(name);
    if (entry === undefined) throw unknownToken(edited.file, name);
    return withoutLines(text, withFollowers(list, [placeOf(entry)]), formatToken(renew(entry)));
  });
}

/** Takes every entry of a name out, those that never match too. @throws OperatorError when there is none, or the file can't be changed */
export function removeToken(edited: EditedTokenFile, name: string): Promise<void> {
  return edit(edited, (text, list) => {
    const places = placesOf(list).filter((other) => other.name === name);
    if (places.length === 0) throw unknownToken(edited.file, name);
    return withoutLines(text, withFollowers(list, places));
  });
}

/** Takes out the tokens of a user, those that never match too; gives their names. @throws OperatorError when the file can't be changed */
export async function removeTokensOf(edited: EditedTokenFile, owner: string): Promise<readonly string[]> {
  let owned: readonly TokenPlace[] = [];
  await edit(edited, (text, list) => {
    owned = ownedBy(list, owner);
    return withoutLines(text, withFollowers(list, owned));
  });
  return describePlaces(owned);
}

/** The names of the tokens of a user, those that never match too. */
export function namesOwnedBy(list: TokenList, owner: string): readonly string[] {
  return describePlaces(ownedBy(list, owner));
}

/** Whether a token has the name, if only one that never matches. */
export function hasTokenName(list: TokenList, name: string): boolean {
  return placesOf(list).some((place) => place.name === name);
}

async function edit(
  { file, model, checkPattern }: EditedTokenFile,
  change: (text: string, list: TokenList) => string,
): Promise<void> {
  await replaceFile(
    file,
    (old) => {
      const list = old === undefined ? emptyTokenList : parse(file, old, checkPattern);
      const changed = Buffer.from(change(old?.toString() ?? '', list));
      parse(file, changed, checkPattern); // a list that is indented, say, may not take a further line
      return changed;
    },
    model,
  );
}

function parse(file: string, bytes: Buffer, checkPattern: CheckPattern): TokenList {
  try {
    return parseTokenList(bytes, checkPattern);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OperatorError(`${file} cannot be edited: ${reason}. Correct it, one token a line.`);
  }
}

/** @throws OperatorError when no machine token can have the name */
export function checkTokenName(name: string): void {
  if (!tokenNameForm.test(name))
    throw new OperatorError(
      'The name is none for a machine token: write 1 to 64 letters, digits, ".", "_" and "-", with a letter or digit first.',
    );
}

/** Where an entry stands, if only one that never matches, and what it says of itself. */
type TokenPlace = Omit<TokenProblem, 'reason'>;

function placesOf({ entries, problems }: TokenList): TokenPlace[] {
  return [...[...entries.values()].map(placeOf), ...problems];
}

function placeOf({ principal, sha256, line, endLine }: TokenEntry & TokenLines): TokenPlace {
  return { name: principal.name, owner: principal.grant.owner, sha256, line, endLine };
}

function ownedBy(list: TokenList, owner: string): TokenPlace[] {
  return placesOf(list).filter((place) => place.owner === owner);
}

function describePlaces(places: readonly TokenPlace[]): readonly string[] {
  return [...new Set(places.map(({ name, line }) => name ?? `of line ${line}`))];
}

/**
 * Adds the entries that never match and have the name or the secret of one that goes: they might come into effect without it. What is added
 * has followers of its own.
 */
function withFollowers({ problems }: TokenList, gone: readonly TokenPlace[]): readonly TokenPlace[] {
  const all = new Set(gone);
  for (let before = -1; before < all.size;) {
    before = all.size;
    const names = new Set([...all].flatMap(({ name }) => name ?? []));
    const hashes = new Set([...all].flatMap(({ sha256 }) => sha256 ?? []));
    for (const problem of problems)
      if (names.has(problem.name ?? '') || hashes.has(problem.sha256 ?? '')) all.add(problem);
  }
  return [...all];
}

/** All other lines stay byte for byte; `instead` takes the place of the first. */
function withoutLines(text: string, gone: readonly TokenLines[], instead?: string): string {
  const lines = text.split(/(?<=\n)/);
  const [first] = gone;
  return lines
    .flatMap((content, index) => {
      const number = index + 1;
      if (number === first?.line && instead !== undefined) return [`${instead}\n`];
      return gone.some(({ line, endLine }) => number >= line && number <= endLine) ? [] : [content];
    })
    .join('');
}

function unknownToken(file: string, name: string): OperatorError {
  return new OperatorError(
    `There is no machine token ${name} in ${file}: \`tidegate token list\` names them.`,
  );
}
