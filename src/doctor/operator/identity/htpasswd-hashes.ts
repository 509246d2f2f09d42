import { readHtpasswdText } from '../../../auth/htpasswd/htpasswd-content.ts';
import { describeReadError } from '../../../system/files/file-status.ts';
import { parseHtpasswd, type Htpasswd, type HtpasswdLimits } from '../../../auth/htpasswd/htpasswd.ts';
import { parsePasswordHash } from '../../../auth/password/password-hash.ts';
import { broken, count, ok, quoteForeign, warning, type Finding } from '../../finding.ts';
import { skipAll } from '../../check.ts';

export const htpasswdIds = ['htpasswd.users', 'htpasswd.hashes', 'htpasswd.lines'] as const;

/** Below this cost a stolen file is cracked in days instead of years; `user add` writes it. */
const minBcryptCost = 10;
const maxNamed = 5;

/** Reads the htpasswd file and judges its users, hashes and lines. */
export async function checkHtpasswd(path: string, limits: HtpasswdLimits): Promise<Finding[]> {
  let text: string;
  try {
    text = await readHtpasswdText(path);
  } catch (error) {
    return [
      broken(
        'htpasswd.users',
        `The htpasswd file ${path} cannot be read: ${describeReadError(error)}.`,
        `tidegate user add NAME --file ${path}`,
      ),
      ...skipAll(htpasswdIds.slice(1), 'The htpasswd file cannot be read.'),
    ];
  }
  return judgeHtpasswd(path, parseHtpasswd(text, limits));
}

/** The users who can log in; none when the file cannot be read, which {@link checkHtpasswd} says. */
export async function readUserNames(path: string, limits: HtpasswdLimits): Promise<ReadonlySet<string>> {
  try {
    return new Set(parseHtpasswd(await readHtpasswdText(path), limits).entries.keys());
  } catch {
    return new Set();
  }
}

/** Judges the content of an htpasswd file; names users and lines, and repeats nothing else. */
export function judgeHtpasswd(path: string, { entries, problems }: Htpasswd): Finding[] {
  return [
    entries.size === 0
      ? broken(
          'htpasswd.users',
          `There is no user in ${path} who can log in.`,
          `tidegate user add NAME --file ${path}`,
        )
      : ok('htpasswd.users', `${count(entries.size, 'user')} in ${path} can log in.`),
    judgeHashes(path, entries),
    judgeLines(path, problems),
  ];
}

function judgeHashes(path: string, entries: Htpasswd['entries']): Finding {
  const check = 'htpasswd.hashes';
  const weak = [...entries].flatMap(([name, { hash, line }]) => {
    const why = findWeakness(hash);
    return why === null ? [] : [{ name: quoteForeign(name), line, why }];
  });
  const [first] = weak;
  if (first === undefined)
    return ok(check, `All hashes are costly to guess (bcrypt from cost ${minBcryptCost}, or SHA-crypt).`);
  const named = weak.slice(0, maxNamed).map(({ name, line, why }) => `${name} (line ${line}, ${why})`);
  const more = weak.length > maxNamed ? `, and ${weak.length - maxNamed} more` : '';
  return warning(
    check,
    `The hashes of ${named.join(', ')}${more} are weak if the file leaks.`,
    `a new password for each: tidegate user add ${/^[\w.@-]+$/.test(first.name) ? first.name : 'NAME'} --file ${path}`,
  );
}

function findWeakness(text: string): string | null {
  const hash = parsePasswordHash(text);
  switch (hash?.kind) {
    case 'apr1':
      return 'apr1';
    case 'sha1':
      return '{SHA}';
    case 'bcrypt':
      return hash.cost < minBcryptCost ? `bcrypt of cost ${hash.cost}` : null;
    case 'sha256-crypt':
    case 'sha512-crypt':
    case undefined:
      return null;
  }
}

function judgeLines(path: string, problems: Htpasswd['problems']): Finding {
  const check = 'htpasswd.lines';
  if (problems.length === 0) return ok(check, 'Every line can match.');
  const named = problems.slice(0, maxNamed).map(({ line, reason }) => `line ${line}: ${reason}`);
  const more = problems.length > maxNamed ? `; and ${problems.length - maxNamed} more` : '';
  return warning(
    check,
    `${count(problems.length, 'line')} of ${path} never ${problems.length === 1 ? 'matches' : 'match'}: ${named.join('; ')}${more}.`,
    `take the line out, or set a new password: tidegate user add NAME --file ${path}`,
  );
}
