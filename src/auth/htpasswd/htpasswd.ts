import { trimCharacters } from '../../http/trim-characters.ts';
import { isUtf8, lineEnd } from './htpasswd-text.ts';
import { parsePasswordHash } from '../password/password-hash.ts';
import type { PasswordHash, PasswordHashKind } from '../password/password-hash.ts';

/** The most work that one check may cost: bcrypt's log2 of rounds, and SHA-crypt's rounds. */
export type HtpasswdLimits = { readonly maxBcryptCost: number; readonly maxShaCryptRounds: number };

/** A user whose password can be checked; `line` counts from 1. */
export type HtpasswdEntry = {
  readonly kind: PasswordHashKind;
  readonly hash: string;
  readonly line: number;
};

/** A line that never matches; `reason` reveals nothing of its content, which may be a plain password. */
export type HtpasswdProblem = { readonly line: number; readonly reason: string };

export type Htpasswd = {
  readonly entries: ReadonlyMap<string, HtpasswdEntry>;
  readonly problems: readonly HtpasswdProblem[];
};

// The characters of APR's apr_isspace; JavaScript's own trim() would also remove a no-break space from a name.
const surroundingSpace = ' \t\v\f\r';

/**
 * Parses one line like Apache: undefined for a blank line and a comment; no hash without a colon. Skips a byte order
 * mark, which remains when files were joined.
 */
export function parseHtpasswdLine(line: string): { name: string; hash?: string } | undefined {
  const text = trimCharacters(line.replace(/^\uFEFF/, ''), surroundingSpace);
  if (text === '' || text.startsWith('#')) return undefined;
  const colon = text.indexOf(':');
  if (colon === -1) return { name: text };
  // ap_getword treats a run of colons as one, and the hash ends at the next.
  const [hash = ''] = text.slice(colon).replace(/^:+/, '').split(':', 1);
  return { name: text.slice(0, colon), hash };
}

/**
 * Parses a text of decodeHtpasswd like Apache, except that CR alone also ends a line; never throws. The first line of a
 * name is effective, even when it can't be used: then nobody can log in by that name.
 */
export function parseHtpasswd(text: string, limits: HtpasswdLimits): Htpasswd {
  const entries = new Map<string, HtpasswdEntry>();
  const problems: HtpasswdProblem[] = [];
  const firstLines = new Map<string, number>();
  let number = 0;
  for (const content of text.split(lineEnd)) {
    const line = ++number;
    const parsed = parseHtpasswdLine(content);
    if (parsed === undefined) continue;
    const { name, hash } = parsed;
    if (hash === undefined) {
      problems.push({ line, reason: 'it has no colon between name and hash' });
      continue;
    }
    if (!isUtf8(name)) {
      problems.push({ line, reason: 'its name is not encoded in UTF-8' });
      continue;
    }
    const first = firstLines.get(name);
    if (first !== undefined) {
      problems.push({ line, reason: `its name is already on line ${first}, which is the one that counts` });
      continue;
    }
    firstLines.set(name, line);
    const usable = checkHash(hash, limits);
    if ('reason' in usable) problems.push({ line, reason: usable.reason });
    else if (name === '') problems.push({ line, reason: 'it has no name' });
    else entries.set(name, { kind: usable.kind, hash, line });
  }
  return { entries, problems };
}

const knownForms: readonly (readonly [RegExp, string])[] = [
  [/^\$2[aby]\$/, 'bcrypt'],
  [/^\$apr1\$/, 'apr1'],
  [/^\{SHA\}/, '{SHA}'],
  [/^\$5\$/, 'SHA-256-crypt'],
  [/^\$6\$/, 'SHA-512-crypt'],
];

function checkHash(text: string, limits: HtpasswdLimits): PasswordHash | { reason: string } {
  if (text === '') return { reason: 'it has no password hash' };
  const hash = parsePasswordHash(text);
  if (hash === undefined) {
    const form = knownForms.find(([prefix]) => prefix.test(text))?.[1];
    return {
      reason:
        form === undefined
          ? 'its hash is of a kind that is not accepted (plain text, DES and MD5 crypt are not)'
          : `its ${form} hash is broken`,
    };
  }
  if (hash.kind === 'bcrypt' && hash.cost > limits.maxBcryptCost) {
    return { reason: `its bcrypt cost ${hash.cost} is over the limit of ${limits.maxBcryptCost}` };
  }
  if ('rounds' in hash && hash.rounds > limits.maxShaCryptRounds) {
    return { reason: `its ${hash.rounds} rounds are over the limit of ${limits.maxShaCryptRounds}` };
  }
  return hash;
}
