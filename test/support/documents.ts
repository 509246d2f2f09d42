import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../../', import.meta.url));

/** A block of code of a page; `kind` is its language, or `indented`. */
export type Block = {
  readonly page: string;
  /** The number of its first line of code, from 1. */
  readonly line: number;
  readonly kind: string;
  readonly text: string;
};

/** A command in a shell block, or between backticks. */
export type DocumentedCommand = {
  readonly page: string;
  readonly line: number;
  readonly program: string;
  readonly words: readonly string[];
  /** Whether it is between backticks, where a command's name is enough. */
  readonly isInProse: boolean;
};

/** Lists all Markdown pages. */
export const listPages = (): string[] =>
  ['.', 'certs', 'config', 'docs'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: folder === 'docs', encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => path.posix.join(folder, name)),
  );

export function readBlocks(page: string): Block[] {
  const blocks: Block[] = [];
  const lines = readFileSync(path.join(root, page), 'utf8').split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const [, indent, kind = ''] = /^( *)```(\w*)/.exec(lines[at] ?? '') ?? [];
    if (indent === undefined) {
      const isCode = /^ {4}\S/.test(lines[at] ?? '') && lines[at - 1] === '' && !isInList(lines, at);
      if (isCode) blocks.push({ page, line: at + 1, kind: 'indented', text: lines[at] ?? '' });
      continue;
    }
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    const text = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    blocks.push({ page, line: at + 2, kind, text: `${text.join('\n')}\n` });
    at = end;
  }
  return blocks;
}

/** Whether a line continues a list item. */
function isInList(lines: readonly string[], at: number): boolean {
  const before = lines.slice(0, at).findLast((line) => /^\S/.test(line)) ?? '';
  return /^(?:[-*]|\d+\.) /.test(before);
}

export function readCommands(page: string): DocumentedCommand[] {
  const shell = readBlocks(page).filter(({ kind }) => kind === 'sh');
  const typed = shell.flatMap(({ line, text }) =>
    text
      .split('\n')
      .flatMap((each, at) =>
        parseLine(each).map((call) => ({ page, line: line + at, isInProse: false, ...call })),
      ),
  );
  const prose = readFileSync(path.join(root, page), 'utf8').replaceAll(/^( *)```[^]*?^\1```$/gm, (block) =>
    block.replaceAll(/[^\n]/g, ''),
  );
  const inline = prose.split('\n').flatMap((each, at) =>
    [
      ...each.matchAll(
        /`((?:tidegate|node dist\/main\.js|npm (?:start|test|run)|(?:sudo )?deploy\/install\.sh)(?: [^`]+)?)`/g,
      ),
    ].flatMap(([, code = '']) =>
      parseLine(code.replaceAll('\\|', '|')).map((call) => ({
        page,
        line: at + 1,
        isInProse: true,
        ...call,
      })),
    ),
  );
  return [...typed, ...inline];
}

/** Splits a shell line into simple commands. */
function parseLine(line: string): { program: string; words: string[] }[] {
  return splitCommands(line).flatMap((words) => {
    const rest = words.slice(words.findIndex((word) => !/^(sudo|exec|\w+=.*)$/.test(word)));
    const [first = ''] = rest;
    if (first === '') return [];
    const isNode = first === 'node' && (rest[1] ?? '').endsWith('dist/main.js');
    if (isNode) return [{ program: 'tidegate', words: rest.slice(2) }];
    return [{ program: first, words: rest.slice(1) }];
  });
}

/** The words between `|`, `&&`, `;` and the end or a comment, without quotes and redirections. */
function splitCommands(line: string): string[][] {
  const found: string[][] = [[]];
  for (const [token] of line.matchAll(
    /"[^"]*"|'[^']*'|&&|\|\|?|;|(?<=^|\s)#.*|\d?>&?\S*|<\s*\S+|[^\s|;&"'#]\S*?(?=[\s|;]|$)/g,
  )) {
    if (token.startsWith('#')) break;
    if (/^(&&|\|\|?|;)$/.test(token)) found.push([]);
    else if (!/^\d?[<>]/.test(token)) found.at(-1)?.push(token.replaceAll(/^["']|["']$/g, ''));
  }
  return found.filter((words) => words.length > 0);
}
