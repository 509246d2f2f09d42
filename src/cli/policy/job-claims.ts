import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { isAudience, type ProvenJob } from '../../auth/oidc/id-tokens.ts';
import { readJob } from '../../auth/oidc/job.ts';
import { readObject } from '../../auth/oidc/json-object.ts';
import type { Config } from '../../config/schema/schema.ts';
import { describePrincipal } from '../../policy/policy-query.ts';
import { describeWho, parseWho } from '../../policy/who.ts';
import { describeReadError } from '../../system/files/file-status.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { LoadedPolicy } from './loaded-policy.ts';

type Job = ProvenJob['job'];

/** Reads the claims of an ID token from a file of JSON: the job that they are of, and what would keep its token out. */
export async function readJobClaims(
  file: string,
  { auth }: Pick<Config, 'auth'>,
): Promise<{ job: Job; notes: readonly string[] }> {
  const refuse = (reason: string) => new OperatorError(`The claims ${file} cannot be used: ${reason}.`);
  const payload = readObject(await readJson(file, refuse));
  if (payload === null) throw refuse('they are no JSON object');
  const { iss, aud } = payload;
  if (auth.oidc.length === 0) throw refuse('auth.oidc names no issuer');
  const ofIssuer = auth.oidc.filter(({ issuer }) => issuer === iss);
  const issuer = ofIssuer.find(({ audience }) => isAudience(aud, audience)) ?? ofIssuer[0];
  if (issuer === undefined)
    throw refuse(
      `their iss is ${show(iss)}, and auth.oidc has ${auth.oidc.map((one) => one.issuer).join(', ')}`,
    );
  const job = readJob(issuer.name, payload);
  if (typeof job === 'string') throw refuse(job);
  const isForUs = isAudience(aud, issuer.audience);
  return {
    job,
    notes: isForUs
      ? []
      : [`note: such a token is refused: its aud is ${show(aud)} and not exactly ${issuer.audience}`],
  };
}

/** Adds `--oidc-claims`, which may be repeated. */
export function addJobClaimsOption(command: Command, description: string): void {
  const collect = (file: string, earlier: readonly string[]) => [...earlier, file];
  command.option('--oidc-claims <file>', description, collect, []);
}

/** Reads the files of `--oidc-claims`: the jobs by their texts. @throws OperatorError when two are of one text */
export async function readJobs(
  command: Command,
  { config }: LoadedPolicy,
): Promise<{ jobs: ReadonlyMap<string, Job>; notes: readonly string[] }> {
  const { oidcClaims } = command.opts<{ oidcClaims: readonly string[] }>();
  const jobs = new Map<string, Job>();
  const notes: string[] = [];
  for (const file of oidcClaims) {
    const found = await readJobClaims(file, config);
    const text = describePrincipal(found.job);
    if (jobs.has(text))
      throw new OperatorError(
        `The claims ${file} are of ${text}, as others are: the log does not tell such jobs apart; give one file for each name.`,
      );
    jobs.set(text, found.job);
    notes.push(...found.notes);
  }
  return { jobs, notes };
}

function show(claim: unknown): string {
  return claim === undefined ? 'missing' : JSON.stringify(claim);
}

async function readJson(file: string, refuse: (reason: string) => OperatorError): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw refuse(describeReadError(error));
  }
  try {
    return JSON.parse(text);
  } catch {
    throw refuse('they are no JSON');
  }
}

/** Lists the rules that match a job, a line each. */
export function listRulesOfJob({ config, nameRule }: LoadedPolicy, job: Job): string[] {
  const noGroups = new Map<string, ReadonlySet<string>>();
  const lines = (config.policy ?? []).flatMap(({ who, repositories, actions }, index) => {
    const item = who.find((one) => parseWho([one], noGroups).matches(job));
    if (item === undefined) return [];
    const allowed = actions.length === 0 ? 'nothing' : actions.join(', ');
    return [
      `${nameRule(index + 1)} matches "${describeWho(item)}": ${allowed} in ${repositories.join(', ')}`,
    ];
  });
  if (lines.length === 0) return ['no rule matches it: it may do nothing'];
  return [...lines, 'where several match a repository, the first decides'];
}
