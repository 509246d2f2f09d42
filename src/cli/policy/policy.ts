import { InvalidArgumentError, type Command } from 'commander';
import { policyActions, type PolicyAction } from '../../policy/decision.ts';
import { explainRules, type RuleStep } from '../../policy/explanation.ts';
import {
  describeGrant,
  describePrincipal,
  grantToken,
  parseClientAddress,
  parsePrincipal,
  parseRepository,
  parseTag,
  type PolicyQuery,
  type TokenGrants,
} from '../../policy/policy-query.ts';
import { describeWho } from '../../policy/who.ts';
import { addConfigOptions } from '../config.ts';
import { isJobUser } from './expectation.ts';
import { listRulesOfJob, readJobClaims } from './job-claims.ts';
import { loadPolicy, printLines, type LoadedPolicy } from './loaded-policy.ts';
import { addPolicyReplayCommand } from './policy-replay.ts';
import { addPolicyTestCommand } from './policy-test.ts';
import { findPlace, readUserNames } from './policy-warnings.ts';
import { readTokenGrants } from './token-grants.ts';

type Principal = PolicyQuery['principal'];
type Image = Pick<PolicyQuery, 'repository' | 'tag'>;

/** Adds `policy explain`, `policy test` and `policy replay`: decisions of the rules without any request. */
export function addPolicyCommand(program: Command): void {
  const policy = program
    .command('policy')
    .description('check who may do what under the rules, before they serve');
  const explain = policy
    .command('explain')
    .description('say which rule decides, and why; exits with 0 when it is allowed, and with 1 when not')
    .argument(
      '[user]',
      'name of a user, token:NAME, or anonymous (user:anonymous is a user of that name)',
      parseUser,
    )
    .argument('[action]', policyActions.join(', '), parseAction)
    .argument('[image]', 'REPOSITORY or REPOSITORY:TAG', parseImage)
    .option(
      '--oidc-claims <file>',
      'claims of an ID token, as JSON: what that job may do, as user oidc; all of it without user, action and image',
    );
  explain.option(
    '--address <address>',
    'address of the client without credentials, which rules for networks ask about',
    parseAddress,
  );
  addConfigOptions(explain).action(
    async (asked: Principal | undefined, action: PolicyAction | undefined, image: Image | undefined) => {
      const { oidcClaims, address } = explain.opts<{ oidcClaims?: string; address?: string }>();
      const isForJob = oidcClaims !== undefined;
      if (isForJob && asked !== undefined && !isJobUser(asked))
        explain.error('error: with --oidc-claims the user is oidc');
      if (image === undefined && !(isForJob && asked === undefined))
        explain.error('error: user, action and image are needed');
      if (address !== undefined && asked?.kind !== 'anonymous')
        explain.error(
          'error: with --address the user is anonymous: only rules for those ask where a client is',
        );
      const loaded = await loadPolicy(explain);
      const found = isForJob ? await readJobClaims(oidcClaims, loaded.config) : null;
      const principal =
        found?.job ?? (address === undefined ? asked : loaded.judge.policy.anonymousAt(address));
      const notes = found?.notes ?? noteAddress(loaded, asked, address);
      if (found && image === undefined)
        printLines([`${describePrincipal(found.job)}:`, ...listRulesOfJob(loaded, found.job), ...notes]);
      else if (principal && action && image)
        await explainQuery(loaded, { principal, action, ...image }, notes);
    },
  );
  addPolicyTestCommand(policy);
  addPolicyReplayCommand(policy);
}

async function explainQuery(
  loaded: LoadedPolicy,
  asked: PolicyQuery,
  notes: readonly string[],
): Promise<void> {
  const grants = await readTokenGrants(loaded.config);
  const query = { ...asked, principal: grantToken(asked.principal, grants) };
  const { allowed, answer, sentence, rule, immutableBy } = loaded.judge.judge(query);
  const verdict = allowed ? 'allowed' : 'denied';
  printLines([
    ...explainSteps(loaded, query, rule),
    ...explainTag(loaded, query, immutableBy),
    ...(await notePrincipal(loaded, query.principal, grants, notes)),
    `${verdict}: ${sentence}${answer === null ? '' : `; the answer is ${answer}`}`,
  ]);
  if (!allowed) process.exitCode = 1;
}

async function notePrincipal(
  loaded: LoadedPolicy,
  principal: Principal,
  grants: TokenGrants | null,
  notes: readonly string[],
): Promise<readonly string[]> {
  switch (principal.kind) {
    case 'job':
      return notes;
    case 'token':
      return [noteToken(loaded, principal.name, grants)];
    default:
      return [...notes, ...(await noteUsers(loaded, principal))];
  }
}

function explainSteps(
  { config, nameRule }: LoadedPolicy,
  { principal, repository }: PolicyQuery,
  decides: number | null,
): string[] {
  const rules = config.policy ?? [];
  const why = ({ rule, word, pattern }: RuleStep): string => {
    const { who = [], repositories = [], actions = [] } = rules[rule - 1] ?? {};
    const person = describePrincipal(principal);
    const isNobody = `${person} is not among ${who.map(describeWho).join(', ')}`;
    const isNowhere = `${repository} matches none of ${repositories.join(', ')}`;
    if (word === null) return `does not match: ${isNobody}${pattern === null ? `, and ${isNowhere}` : ''}`;
    if (pattern === null) return `does not match: ${isNowhere}`;
    return `decides: "${word}" means ${person}, "${pattern}" matches ${repository}; it allows ${actions.join(', ') || 'nothing'}`;
  };
  const lines = explainRules(rules, config.groups, principal, repository).map(
    (step) => `${nameRule(step.rule)} ${why(step)}`,
  );
  const isUndecided = config.policy !== null && decides === null;
  return isUndecided ? [...lines, 'no rule matches, and what no rule matches is denied'] : lines;
}

function explainTag(
  loaded: LoadedPolicy,
  { action, tag }: PolicyQuery,
  immutableBy: number | null,
): string[] {
  if (tag === null) return [];
  if (immutableBy === null)
    return [
      `the tag ${tag} is not immutable: no pattern of immutableTags matches${action === 'overwrite' ? ', so that moving it needs only push, and deleting it only delete' : ''}`,
    ];
  const pattern = loaded.config.immutableTags[immutableBy - 1] ?? '';
  const place = findPlace(loaded, ['immutableTags', immutableBy - 1]);
  const once = action === 'push' ? '; push is enough as long as it does not exist' : '';
  return [
    `the tag ${tag} is immutable by "${pattern}" (${place}): to move or delete it needs overwrite${once}`,
  ];
}

/** Says which networks were looked at, where rules are for networks. */
function noteAddress(
  { config, judge }: LoadedPolicy,
  asked: Principal | undefined,
  address: string | undefined,
): string[] {
  const hasNetworks = config.policy?.some(({ who }) =>
    who.some((item) => typeof item === 'string' && item.startsWith('network:')),
  );
  if (asked?.kind !== 'anonymous' || hasNetworks !== true) return [];
  if (address === undefined)
    return ['note: this is about a client in none of the networks of the rules: name another with --address'];
  const { networks } = judge.policy.anonymousAt(address);
  return networks.length === 0 ? [`note: ${address} is in none of the networks of the rules`] : [];
}

function noteToken({ config }: LoadedPolicy, name: string, grants: TokenGrants | null): string {
  const file = config.auth.machineTokens;
  if (grants === null)
    return `note: what token:${name} is bounded by besides the rules is not known: ${file} cannot be read`;
  const grant = grants.get(name);
  return grant === undefined
    ? `note: token:${name} cannot log in at all: ${file} has no such machine token`
    : `token:${name} is bounded to ${describeGrant(grant)}`;
}

async function noteUsers({ config }: LoadedPolicy, principal: Principal): Promise<string[]> {
  const names = await readUserNames(config);
  const file = config.auth.htpasswd;
  if (names === null)
    return principal.kind === 'anonymous'
      ? []
      : [`note: it is not known whether this user exists: ${file} cannot be read`];
  if (principal.kind === 'anonymous')
    return names.has('anonymous')
      ? [
          `note: this is about clients without credentials; the user of that name in ${file} is user:anonymous`,
        ]
      : [];
  const name = describePrincipal(principal);
  return names.has(name) ? [] : [`note: ${name} cannot log in at all: ${file} has no such user`];
}

function parseUser(text: string): Principal {
  return asUsage(text, parsePrincipal);
}

function parseAddress(text: string): string {
  return asUsage(text, parseClientAddress);
}

function parseAction(text: string): PolicyAction {
  const action = policyActions.find((one) => one === text);
  if (action === undefined) throw new InvalidArgumentError(`Write one of ${policyActions.join(', ')}.`);
  return action;
}

function parseImage(text: string): Image {
  const colon = text.indexOf(':');
  const repository = asUsage(colon === -1 ? text : text.slice(0, colon), parseRepository);
  return { repository, tag: colon === -1 ? null : asUsage(text.slice(colon + 1), parseTag) };
}

/** An invalid argument is wrong usage, not failed work. */
function asUsage<T>(text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InvalidArgumentError(`${JSON.stringify(text.slice(0, 60))} ${error.message}.`);
  }
}
