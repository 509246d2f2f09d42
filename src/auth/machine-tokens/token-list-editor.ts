import { tokenNameForm } from '../../registry/names/token-name.ts';
import { replaceFile } from '../../system/locked-file.ts';
import { OperatorError } from '../../system/operator-error.ts';
import {
  emptyTokenList,
  formatToken,
  parseTokenList,
  type CheckPattern,
  type TokenEntry,
  type TokenList,
} from './token-list.ts';

/** A file of machine tokens that is to be changed; `model`: a file whose mode and owner a new one gets. */
export type EditedTokenFile = {
  readonly file: string;
  readonly model: string;
  readonly checkPattern: CheckPattern;
};

const head = `# Machine tokens, one a line. \`tidegate token\` edits this file; docs/tokens.md says what stands in it.\n`;

/** Writes a new token at the end; the file is made when there is none. @throws OperatorError when the name is taken, or the file can't be changed */
export function addToken(edited: EditedTokenFile, entry: TokenEntry): Promise<void> {
  const { name } = entry.principal;
  return edit(edited, (text, list) => {
    if (linesOf(list, (other) => other === name).length > 0)
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
    return withoutLines(text, [entry], formatToken(renew(entry)));
  });
}

/** Takes every entry of a name out, those that never match too. @throws OperatorError when there is none, or the file can't be changed */
export function removeToken(edited: EditedTokenFile, name: string): Promise<void> {
  return edit(edited, (text, list) => {
    const lines = linesOf(list, (other) => other === name);
    if (lines.length === 0) throw unknownToken(edited.file, name);
    return withoutLines(text, lines);
  });
}

/** Takes out the tokens of a user; gives their names. @throws OperatorError when the file can't be changed */
export async function removeTokensOf(edited: EditedTokenFile, owner: string): Promise<readonly string[]> {
  let removed: string[] = [];
  await edit(edited, (text, list) => {
    const owned = [...list.entries.values()].filter(({ principal }) => principal.grant.owner === owner);
    removed = owned.map(({ principal }) => principal.name);
    return withoutLines(
      text,
      linesOf(list, (name) => name !== null && removed.includes(name)),
    );
  });
  return removed;
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

type Lines = { readonly line: number; readonly endLine: number };

/** Where entries of these names stand, those that never match too. */
function linesOf({ entries, problems }: TokenList, isWanted: (name: string | null) => boolean): Lines[] {
  return [
    ...[...entries.values()].filter(({ principal }) => isWanted(principal.name)),
    ...problems.filter(({ name }) => isWanted(name)),
  ];
}

/** All other lines stay byte for byte; `instead` takes the place of the first. */
function withoutLines(text: string, gone: readonly Lines[], instead?: string): string {
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
