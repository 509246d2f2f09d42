import type { Job } from '../registry/principal.ts';
import { parseGlob } from './glob.ts';

/** The jobs that a rule matches, as written in the configuration. */
export type JobText = {
  /** The name of an issuer in `auth.oidc`. */
  readonly oidc: string;
  /** Patterns of claims; all must match. */
  readonly claims: Readonly<Record<string, string>>;
};

export type JobPattern = {
  readonly issuer: string;
  readonly matches: (job: Job) => boolean;
  /** Equal for two patterns that say the same. */
  readonly key: string;
};

/** Every token of an issuer has these, whoever's job it is: a workflow chooses its audience itself. */
const unspecificClaims = ['aud', 'iss'];
const maxPatternLength = 1024;

/** Compiles a pattern of jobs. @throws RangeError when a claim's pattern is invalid */
export function parseJobPattern({ oidc, claims }: JobText): JobPattern {
  const wanted = Object.entries(claims).map(([name, pattern]) => [name, parseClaimPattern(pattern)] as const);
  return {
    issuer: oidc,
    matches: (job) =>
      job.issuer === oidc &&
      wanted.every(([name, matches]) => {
        const value = Object.hasOwn(job.claims, name) ? job.claims[name] : undefined;
        return value !== undefined && matches(value);
      }),
    key: JSON.stringify([oidc, Object.entries(claims).sort(([a], [b]) => (a < b ? -1 : 1))]),
  };
}

/** Compiles the pattern of one claim. Without a star it is the claim's exact text. @throws RangeError that says what is wrong with it */
export function parseClaimPattern(pattern: string): (value: string) => boolean {
  if (pattern === '') throw new RangeError('is empty');
  if (pattern.length > maxPatternLength)
    throw new RangeError(`is longer than ${maxPatternLength} characters`);
  if (!pattern.includes('*')) return (value) => value === pattern;
  const glob = parseGlob(pattern);
  return (value) => glob.matches(value);
}

/** Whether some claim says whose jobs are meant. Without one, a rule would be for every job of the issuer. */
export function namesOwnJobs(claims: JobText['claims']): boolean {
  return Object.entries(claims).some(
    ([name, pattern]) => !unspecificClaims.includes(name) && !/^[*/]*$/.test(pattern),
  );
}
