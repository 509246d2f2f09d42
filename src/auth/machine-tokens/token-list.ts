import { isUtf8 } from 'node:buffer';
import { LineCounter, parseDocument, isSeq, isNode, isScalar } from 'yaml';
import type { Action } from '../../registry/access.ts';
import { tokenNameForm } from '../../registry/names/token-name.ts';
import type { MachineToken } from '../../registry/principal.ts';

/** A machine token as its file has it. */
export type TokenEntry = {
  /** Who asks with it. */
  readonly principal: MachineToken;
  /** SHA-256 of the token. */
  readonly sha256: string;
  /** Milliseconds since 1970; null: not said. */
  readonly createdMs: number | null;
  /** Milliseconds since 1970; null: it never expires. */
  readonly expiresMs: number | null;
};

/** Where an entry stands: its lines, counted from 1, both included. */
export type TokenLines = { readonly line: number; readonly endLine: number };

/** An entry that never matches; `reason` repeats nothing of it. */
export type TokenProblem = TokenLines & {
  readonly reason: string;
  readonly name: string | null;
  readonly sha256: string | null;
  readonly owner: string | null;
};

/** A file of machine tokens. */
export type TokenList = {
  readonly entries: ReadonlyMap<string, TokenEntry & TokenLines>;
  readonly problems: readonly TokenProblem[];
};

/** Says what is wrong with a pattern of repositories. @throws RangeError, to be put behind it */
export type CheckPattern = (pattern: string) => void;

/** The largest file of machine tokens that is read, in bytes. */
export const maxTokenListBytes = 16 * 1024 * 1024;
/**
 * The largest one that is read with the YAML parser, in bytes. That runs on the event loop: 4 MB by hand, which are 20,000 tokens, delayed a
 * request by 4 s.
 */
export const maxYamlBytes = 256 * 1024;
export const tokenActions: readonly Action[] = ['pull', 'push', 'delete'];

const fields = ['name', 'sha256', 'repositories', 'actions', 'created', 'expires', 'owner'];
const sha256Form = /^[0-9a-f]{64}$/;
/** RFC 3339 in UTC, or its date alone. */
const timeForm = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?Z)?$/;
const ownerForm = /^[^:\p{Cc}]{1,255}$/u;
const linePrefix = '- ';

export const emptyTokenList: TokenList = { entries: new Map(), problems: [] };

/**
 * Reads a file of machine tokens: a list in YAML. Of several entries with one name, or one hash, the first counts. Lines as
 * {@link formatToken} writes them are read without a YAML parser, which would take a second for 10,000.
 *
 * @throws Error with the reason, and the line, when it is no such list as a whole
 */
export function parseTokenList(bytes: Buffer, checkPattern: CheckPattern): TokenList {
  if (bytes.length > maxTokenListBytes) throw new Error(`it is larger than ${maxTokenListBytes} bytes`);
  if (!isUtf8(bytes)) throw new Error('it is not text in UTF-8');
  const text = bytes.toString().replace(/^\uFEFF/, '');
  const entries = new Map<string, TokenEntry & TokenLines>();
  const problems: TokenProblem[] = [];
  const names = new Set<string>();
  const hashes = new Set<string>();
  const read = rememberPatterns(checkPattern);
  const lines = readLines(text);
  if (!Array.isArray(lines) && bytes.length > maxYamlBytes)
    throw new Error(
      `line ${lines.strayLine}: it is not in the form that \`tidegate token\` writes, as every line has to be in a file of more than ${maxYamlBytes} bytes: write each token on one line, as docs/tokens.md shows`,
    );
  for (const raw of Array.isArray(lines) ? lines : readYaml(text)) {
    const name = readName(raw.value);
    const entry = readEntry(raw, read);
    const refuse = (reason: string) => {
      const { value, line, endLine } = raw;
      const [sha256, owner] = [readText(value, 'sha256'), readText(value, 'owner')];
      problems.push({ line, endLine, reason, name, sha256, owner });
    };
    if (name !== null && names.has(name)) refuse('its name is that of an earlier one, which counts');
    else if (typeof entry === 'string') refuse(entry);
    else if (hashes.has(entry.sha256)) refuse('its sha256 is that of an earlier one, which counts');
    else {
      entries.set(entry.principal.name, entry);
      hashes.add(entry.sha256);
    }
    if (name !== null) names.add(name);
  }
  return { entries, problems };
}

/** An entry's one line, without its end: JSON, which is YAML. */
export function formatToken({
  principal: { name, grant },
  sha256,
  createdMs,
  expiresMs,
}: TokenEntry): string {
  return formatLine({
    name,
    sha256,
    repositories: grant.repositories,
    actions: grant.actions,
    ...(createdMs === null ? {} : { created: formatTime(createdMs) }),
    ...(expiresMs === null ? {} : { expires: formatTime(expiresMs) }),
    ...(grant.owner === null ? {} : { owner: grant.owner }),
  });
}

type RawEntry = TokenLines & { readonly value: unknown };

function formatLine(value: object): string {
  return linePrefix + JSON.stringify(value);
}

function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** Gives the first line that is neither a comment nor exactly what {@link formatLine} makes of its value, if there is one. */
function readLines(text: string): RawEntry[] | { strayLine: number } {
  const entries: RawEntry[] = [];
  let line = 0;
  for (const content of text.split('\n')) {
    line += 1;
    if (content === '' || content.startsWith('#')) continue;
    if (!content.startsWith(`${linePrefix}{`)) return { strayLine: line };
    try {
      const value = JSON.parse(content.slice(linePrefix.length)) as object;
      if (formatLine(value) !== content) return { strayLine: line }; // such as a key that is there twice
      entries.push({ line, endLine: line, value });
    } catch {
      return { strayLine: line };
    }
  }
  return entries;
}

function readYaml(text: string): RawEntry[] {
  const lineCounter = new LineCounter();
  const lineAt = (offset: number) => Math.max(1, lineCounter.linePos(offset).line);
  // A pretty error repeats the source line.
  const document = parseDocument(text, { lineCounter, prettyErrors: false, schema: 'core' });
  const [error] = [...document.errors, ...document.warnings];
  if (error) throw new Error(`line ${lineAt(error.pos[0])}: ${error.message}`);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  if (!isSeq(contents) || contents.flow === true)
    throw new Error(`line ${lineAt(contents.range[0])}: it is no list with a "- " before each token`);
  return contents.items.map((item) => {
    const [start, end] = (isNode(item) && item.range) || [0, 0];
    const lines = { line: lineAt(start), endLine: lineAt(Math.max(start, end - 1)) };
    try {
      return {
        ...lines,
        value: isNode(item) ? (item.toJS(document, { maxAliasCount: 0 }) as unknown) : null,
      };
    } catch {
      return { ...lines, value: null }; // an alias: it may not mean what stands there
    }
  });
}

/** Gives a reason for what cannot be used. */
function readEntry(
  { value, line, endLine }: RawEntry,
  checkPattern: CheckPattern,
): (TokenEntry & TokenLines) | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it is no mapping';
  const entry = value as Readonly<Partial<Record<string, unknown>>>;
  for (const field in entry)
    if (!fields.includes(field)) return `it has a field that is none of ${fields.join(', ')}`;
  const { name, sha256, repositories, actions, created, expires, owner } = entry;
  if (typeof name !== 'string' || !tokenNameForm.test(name)) return 'its name is missing, or none of a token';
  if (typeof sha256 !== 'string' || !sha256Form.test(sha256))
    return 'its sha256 is missing, or not 64 hexadecimal digits in lower case';
  const fault = findPatternFault(repositories, checkPattern);
  if (fault !== null) return fault;
  if (!Array.isArray(actions) || actions.length === 0 || !actions.every(isAction))
    return `its actions are no list of ${tokenActions.join(', ')}`;
  const createdMs = readTime(created);
  const expiresMs = readTime(expires);
  if (createdMs === undefined) return 'its created is no time in UTC, such as 2027-01-31T12:00:00Z';
  if (expiresMs === undefined) return 'its expires is no time in UTC, such as 2027-01-31T12:00:00Z';
  // Only a missing field means no owner: an empty one may stand for a user who was meant to bound the token.
  if (owner !== undefined && (typeof owner !== 'string' || !ownerForm.test(owner)))
    return 'its owner is no name of a user';
  const grant = { repositories: repositories as string[], actions, owner: owner ?? null };
  return { principal: { kind: 'token', name, grant }, sha256, createdMs, expiresMs, line, endLine };
}

function findPatternFault(repositories: unknown, checkPattern: CheckPattern): string | null {
  const why = 'its repositories are no list of patterns';
  if (!Array.isArray(repositories) || repositories.length === 0) return why;
  for (const pattern of repositories) {
    if (typeof pattern !== 'string') return why;
    try {
      checkPattern(pattern);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return `one of its repositories ${error.message}`;
    }
  }
  return null;
}

function readName(value: unknown): string | null {
  const name = readText(value, 'name');
  return name !== null && tokenNameForm.test(name) ? name : null;
}

function readText(value: unknown, field: string): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const text = (value as Readonly<Partial<Record<string, unknown>>>)[field];
  return typeof text === 'string' ? text : null;
}

function isAction(value: unknown): value is Action {
  return tokenActions.some((action) => action === value);
}

/** Null where there is none; undefined for what is no time. */
function readTime(value: unknown): number | null | undefined {
  if (value === undefined) return null;
  if (typeof value !== 'string' || !timeForm.test(value)) return undefined;
  const ms = Date.parse(value);
  // JavaScript takes a 31st of February for the 3rd of March.
  const isDay = !Number.isNaN(ms) && new Date(ms).getUTCDate() === Number(value.slice(8, 10));
  return isDay ? ms : undefined;
}

/** Thousands of tokens have few patterns between them. */
function rememberPatterns(checkPattern: CheckPattern): CheckPattern {
  const good = new Set<string>();
  return (pattern) => {
    if (good.has(pattern)) return;
    checkPattern(pattern);
    good.add(pattern);
  };
}
