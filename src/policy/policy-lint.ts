import { isWithin as isWithinNetwork, parseNetwork } from '../http/network.ts';
import { isRepositoryName } from '../registry/names/repository-name.ts';
import { anonymous as anonymousClient, type Principal } from '../registry/principal.ts';
import type { PolicyAction } from './decision.ts';
import { createPolicy, type RuleText } from './policy.ts';
import { unbounded } from './policy-query.ts';
import { isPatternWithin, parseRepositoryPattern } from './repository-pattern.ts';
import { compileGroups, parseWho, type Who } from './who.ts';

/** A likely mistake in the policy, which does not prevent its use. */
export type PolicyWarning = {
  /** Its path in the configuration. */
  readonly path: readonly (string | number)[];
  readonly sentence: string;
};

type Rules = {
  readonly policy: readonly RuleText[] | null;
  readonly groups: Readonly<Record<string, readonly string[]>>;
  readonly auth?: { readonly oidc: readonly Issuer[] };
};

type Issuer = { readonly name: string; readonly issuer: string };

/** Issuers for everyone's projects. */
const publicIssuers = ['https://token.actions.githubusercontent.com', 'https://gitlab.com'];
/** Claims of theirs that say whose job it is. */
const ownerClaim =
  /^(?:sub|repository|repository_id|repository_owner|repository_owner_id|workflow_ref|job_workflow_ref|enterprise|enterprise_id|project_id|project_path|namespace_id|namespace_path|ci_config_ref_uri)$/;

/**
 * Finds likely mistakes: rules that never decide, unknown user names, a policy that lets nobody push, permissions
 * of anonymous clients that users lack, and rules that jobs of any project match, or clients at any address. Reports
 * only certain ones.
 *
 * @param userNames of those who can log in; null: not known
 * @param tokenNames of the machine tokens; null: not known
 */
export function lintPolicy(
  { policy, groups: groupTexts, auth }: Rules,
  userNames: ReadonlySet<string> | null,
  tokenNames: ReadonlySet<string> | null,
): PolicyWarning[] {
  const groups = compileGroups(groupTexts);
  const rules = (policy ?? []).map((rule, index) => ({
    ...rule,
    number: index + 1,
    path: ['policy', index] as const,
    meant: parseWho(rule.who, groups),
  }));
  return [
    ...findUnknownNames(policy ?? [], groupTexts, userNames, tokenNames),
    ...findIdleTokens(policy, rules, tokenNames),
    ...rules.flatMap((rule, index) => findIdleRule(rule, rules.slice(0, index))),
    ...findNoPusher(policy, rules),
    ...findRulesForAnonymousOnly(policy ?? [], groupTexts, rules),
    ...findNetworksOfAll(policy ?? []),
    ...findRulesForAllJobs(policy ?? [], auth?.oidc ?? []),
  ];
}

type NumberedRule = RuleText & {
  readonly number: number;
  readonly path: readonly [string, number];
  readonly meant: Who;
};

function findUnknownNames(
  policy: readonly RuleText[],
  groups: Rules['groups'],
  userNames: ReadonlySet<string> | null,
  tokenNames: ReadonlySet<string> | null,
): PolicyWarning[] {
  const warning = (name: string, path: PolicyWarning['path']): PolicyWarning[] => {
    const token = tokenOf(name);
    if (token !== null)
      return tokenNames === null || tokenNames.has(token)
        ? []
        : [{ path, sentence: `names ${JSON.stringify(name)}, and there is no such machine token` }];
    return userNames === null || userNames.has(name)
      ? []
      : [{ path, sentence: `names ${JSON.stringify(name)}, whom the htpasswd file does not have` }];
  };
  return [
    ...Object.entries(groups).flatMap(([group, names]) =>
      names.flatMap((name, index) => warning(name, ['groups', group, index])),
    ),
    ...policy.flatMap(({ who }, rule) =>
      who.flatMap((word, index) => {
        const name = typeof word === 'string' ? nameIn(word) : undefined;
        return name === undefined ? [] : warning(name, ['policy', rule, 'who', index]);
      }),
    ),
  ];
}

/** A machine token that no rule names may do nothing: `authenticated` means users. */
function findIdleTokens(
  policy: readonly RuleText[] | null,
  rules: readonly NumberedRule[],
  tokenNames: ReadonlySet<string> | null,
): PolicyWarning[] {
  if (policy === null) return [];
  const idle = [...(tokenNames ?? [])].filter(
    (token) => !rules.some(({ meant }) => meant.names.some((names) => names.has(`token:${token}`))),
  );
  const [first] = idle;
  if (first === undefined) return [];
  const others = idle.length > 1 ? ` and ${idle.length - 1} more` : '';
  const sentence = `has no rule for the machine token ${first}${others}, which may do nothing: name it in a rule's who, as token:${first}`;
  return [{ path: ['policy'], sentence }];
}

function memberOf(name: string): Principal {
  const token = tokenOf(name);
  return token === null ? { kind: 'user', name } : { kind: 'token', name: token, grant: unbounded };
}

/** The user name in a word, or the word itself for a machine token. */
function nameIn(word: string): string | undefined {
  return tokenOf(word) === null ? /^user:(?!\$\{user\}$)(.*)$/s.exec(word)?.[1] : word;
}

/** Null for a name or a word that means no machine token. */
function tokenOf(text: string): string | null {
  return /^token:(.*)$/s.exec(text)?.[1] ?? null;
}

/** A rule never decides if earlier rules match everything for each of its principals and patterns. */
function findIdleRule(rule: NumberedRule, earlier: readonly NumberedRule[]): PolicyWarning[] {
  const { path, number, meant, repositories } = rule;
  if (!isAnyoneMeant(meant))
    return [{ path, sentence: `rule ${number} can never decide: its groups have no members` }];
  const takers = new Set<number>();
  for (const pattern of repositories) {
    const wider = earlier.filter((other) => other.repositories.some((one) => isPatternWithin(pattern, one)));
    const { canMatch } = parseRepositoryPattern(pattern);
    if (!isTaken(meant, canMatch, wider, takers)) return [];
  }
  const numbers = [...takers].sort((a, b) => a - b);
  const why =
    numbers.length === 0
      ? 'none of its patterns can match for those whom it means ("${user}" needs a name that can be part of a repository\'s)'
      : numbers.length === 1
        ? `rule ${numbers.join()} comes first for all that it could match`
        : `rules ${numbers.join(', ')} come first for all that it could match`;
  return [{ path, sentence: `rule ${number} can never decide: ${why}` }];
}

/** Whether one of these rules decides for each principal whom the pattern can match; notes those rules. */
function isTaken(
  { anonymous, networks, authenticated, names, jobs }: Who,
  canMatch: (principal: Principal) => boolean,
  rules: readonly NumberedRule[],
  takers: Set<number>,
): boolean {
  const takes = (isMeant: (who: Who) => boolean): boolean => {
    const taker = rules.find(({ meant }) => isMeant(meant));
    if (taker !== undefined) takers.add(taker.number);
    return taker !== undefined;
  };
  if (anonymous && canMatch(anonymousClient) && !takes((who) => who.anonymous)) return false;
  for (const network of networks) {
    const isWhole = (who: Who) => who.networks.some((wider) => isWithinNetwork(network, wider));
    if (canMatch(anonymousClient) && !takes((who) => who.anonymous || isWhole(who))) return false;
  }
  for (const { key } of jobs)
    if (canMatch(anyJob) && !takes((who) => who.jobs.some((job) => job.key === key))) return false;
  if (authenticated) return takes((who) => who.authenticated);
  for (const group of names) {
    if (group.size === 0) continue;
    const isOfUsers = ![...group].some((name) => tokenOf(name) !== null);
    // Finds a group that an earlier rule names too without going through its members.
    if (takes((who) => (isOfUsers && who.authenticated) || who.names.includes(group))) continue;
    for (const name of group) {
      const member = memberOf(name);
      if (canMatch(member) && !takes((who) => who.matches(member))) return false;
    }
  }
  return true;
}

const anyJob: Principal = { kind: 'job', issuer: '', name: '', claims: {} };

function isAnyoneMeant({ anonymous, networks, authenticated, names, jobs }: Who): boolean {
  const others = networks.length + jobs.length;
  return anonymous || authenticated || others > 0 || names.some(({ size }) => size > 0);
}

function findNoPusher(policy: readonly RuleText[] | null, rules: readonly NumberedRule[]): PolicyWarning[] {
  if (policy === null) return [];
  const canPush = rules.some(({ actions, meant }) => actions.includes('push') && isAnyoneMeant(meant));
  return canPush ? [] : [{ path: ['policy'], sentence: 'allows nobody to push' }];
}

/** `anonymous` does not match users. Tries out what anonymous clients may do and a user may not. */
function findRulesForAnonymousOnly(
  rules: readonly RuleText[],
  groups: Rules['groups'],
  numbered: readonly NumberedRule[],
): PolicyWarning[] {
  const policy = createPolicy({ rules, groups });
  let someone = 'someone';
  while (numbered.some(({ meant }) => meant.names.some((names) => names.has(someone)))) someone += '0';
  return numbered.flatMap(({ number, path, meant, repositories, actions }): PolicyWarning[] => {
    const [network] = meant.networks;
    if (!meant.anonymous && network === undefined) return [];
    const client =
      network === undefined ? anonymousClient : policy.anonymousAt(network.text.replace(/\/.*/, ''));
    const [where, word] =
      network === undefined ? ['', 'anonymous'] : [` in ${network.text}`, `network:${network.text}`];
    for (const pattern of repositories) {
      const sample = pattern.replaceAll(/\*+/g, 'sample');
      if (!isRepositoryName(sample) || policy.decide(client, sample).rule !== number) continue;
      const own = policy.decide({ kind: 'user', name: someone }, sample).actions;
      const missing = actions.filter((action: PolicyAction) => !own.has(action));
      if (missing.length > 0)
        return [
          {
            path,
            sentence: `rule ${number} lets clients without credentials${where} ${missing.join(' and ')} ${sample}, but not a user whom no other rule names: "${word}" does not mean users who log in, so add "authenticated" to its who`,
          },
        ];
    }
    return [];
  });
}

/** Finds networks that have every address: they give away what `anonymous` would. */
function findNetworksOfAll(policy: readonly RuleText[]): PolicyWarning[] {
  return policy.flatMap(({ who, actions }, rule) =>
    who.flatMap((item, index) => {
      const text = typeof item === 'string' ? /^network:(.*)$/s.exec(item)?.[1] : undefined;
      const network = text === undefined || actions.length === 0 ? null : parseNetwork(text);
      if (network?.text.endsWith('/0') !== true) return [];
      const family = network.isIPv4 ? 'IPv4' : 'IPv6';
      const sentence = `rule ${rule + 1} is for everyone without credentials at any ${family} address: if that is meant, write anonymous`;
      return [{ path: ['policy', rule, 'who', index], sentence }];
    }),
  );
}

/** Whether a claim says whose jobs are meant: by an id, or a path whose first part has no star. */
function namesOwner([claim, pattern]: readonly [string, string]): boolean {
  if (!ownerClaim.test(claim)) return false;
  const path =
    claim === 'sub'
      ? pattern.replace(/^\w+:/, '') // repo:acme/app:…, project_path:acme/app:…
      : claim === 'ci_config_ref_uri'
        ? pattern.replace(/^(?:\*|[^/*]+)\//, '') // gitlab.com/acme/app//…
        : pattern;
  return /^[^/:*]+(?:[/:]|$)/.test(path);
}

/** Finds rules that match jobs of every project of a public issuer. */
function findRulesForAllJobs(policy: readonly RuleText[], issuers: readonly Issuer[]): PolicyWarning[] {
  return policy.flatMap(({ who, actions }, rule) =>
    who.flatMap((item, index) => {
      if (typeof item === 'string' || actions.length === 0) return [];
      const issuer = issuers.find(({ name }) => name === item.oidc)?.issuer ?? '';
      if (!publicIssuers.includes(issuer) || Object.entries(item.claims).some(namesOwner)) return [];
      const sentence = `rule ${rule + 1} is for jobs of every project of ${issuer}: add a claim that says whose they are, such as repository_owner_id or namespace_id`;
      return [{ path: ['policy', rule, 'who', index], sentence }];
    }),
  );
}
