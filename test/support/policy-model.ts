import fc from 'fast-check';
import type { PolicyAction } from '../../src/policy/decision.ts';
import type { Action } from '../../src/registry/access.ts';
import type { MachineToken } from '../../src/registry/principal.ts';
import { machineToken } from './principals.ts';

type Rule = { who: string[]; repositories: string[]; actions: PolicyAction[] };
export type Policy = { groups: Record<string, string[]>; policy: Rule[] };

export const users = ['alice', 'bob', 'Carl', 'anonymous', 'a/b'];
/** Machine tokens, one of them with a user's name. */
const tokens = ['token:ci', 'token:alice'];
/** Addresses of clients without credentials, by the networks of rules that have them. */
const networks: Readonly<Record<string, readonly string[]>> = {
  '127.0.0.2': ['127.0.0.2'],
  '127.0.0.0/30': ['127.0.0.1', '127.0.0.2'],
  '::ffff:127.0.0.4/126': ['127.0.0.5'],
  '0.0.0.0/0': ['127.0.0.1', '127.0.0.2', '127.0.0.5', '10.1.2.3'],
  '10.0.0.0/8': ['10.1.2.3'],
  '::/0': ['::1', 'fe80::1%eth0'],
  'fe80::/10': ['fe80::1%eth0'],
};
export const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.5', '10.1.2.3', '::1', 'fe80::1%eth0'];
const components = ['a', 'b', 'alice', 'bob', 'a-b'];

/** The simplest implementation of a policy, to compare with; `who`: the text of a principal, or null for one without credentials at the address. */
export function mayDo(
  { groups, policy }: Policy,
  who: string | null,
  repository: string,
  address = '',
): string[] {
  const isMeant = (word: string) => {
    if (who === null)
      return word === 'anonymous' || networks[word.replace('network:', '')]?.includes(address) === true;
    if (word === who && who.startsWith('token:')) return true;
    const isUser = !who.startsWith('token:');
    if (isUser && ['authenticated', 'user:${user}', `user:${who}`].includes(word)) return true;
    return word.startsWith('group:') && groups[word.slice(6)]?.includes(who) === true;
  };
  const covers = (pattern: string) => {
    if (!pattern.includes('${user}')) return coversSegments(pattern.split('/'), repository.split('/'));
    if (who === null || !/^[a-z0-9-]+$/.test(who)) return false;
    return coversSegments(pattern.replaceAll('${user}', who).split('/'), repository.split('/'));
  };
  const rule = policy.find((each) => each.who.some(isMeant) && each.repositories.some(covers));
  return rule?.actions ?? [];
}

/** The effect of a machine token's grant: its name, its scopes and its owner must all allow the action. */
export function tokenMayDo(policy: Policy, { name, grant }: MachineToken, repository: string): string[] {
  const { repositories: patterns, actions: granted, owner } = grant;
  const isInScope = patterns.some((each) => coversSegments(each.split('/'), repository.split('/')));
  const isGranted = (action: string) =>
    granted.some((one) => one === action || (action === 'overwrite' && one !== 'pull'));
  return mayDo(policy, `token:${name}`, repository).filter(
    (action) =>
      isInScope && isGranted(action) && (owner === null || mayDo(policy, owner, repository).includes(action)),
  );
}

function coversSegments(pattern: string[], name: string[]): boolean {
  const [first, ...others] = pattern;
  const [segment, ...rest] = name;
  if (first === undefined || segment === undefined) return first === segment;
  if (first !== '**') return coversText(first.split(''), segment.split('')) && coversSegments(others, rest);
  if (others.length === 0) return true;
  return coversSegments(others, name) || coversSegments(pattern, rest);
}

function coversText(pattern: string[], text: string[]): boolean {
  const [first, ...others] = pattern;
  if (first === '*')
    return coversText(others, text) || (text.length > 0 && coversText(pattern, text.slice(1)));
  return first === text[0] && (first === undefined || coversText(others, text.slice(1)));
}

const segment = fc.oneof(
  fc.constantFrom(...components),
  fc.constantFrom('*', '**', 'a*', '*b', '*-*', '${user}'),
);
const pattern = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const word = fc.oneof(
  fc.constantFrom('anonymous', 'authenticated', 'user:${user}', 'group:g', 'group:h'),
  fc.constantFrom(...users).map((name) => `user:${name}`),
  fc.constantFrom(...tokens),
  fc.constantFrom(...Object.keys(networks)).map((network) => `network:${network}`),
);
const isNetwork = (item: string) => item.startsWith('network:');
const actions = fc.subarray<PolicyAction>(['pull', 'push', 'delete', 'overwrite']);
/** Policies from a small vocabulary, so that rules overlap. */
export const policies: fc.Arbitrary<Policy> = fc.record({
  groups: fc.record({ g: fc.subarray([...users, ...tokens]), h: fc.subarray([...users, ...tokens]) }),
  policy: fc.array(
    fc
      .record({
        who: fc.array(word, { minLength: 1, maxLength: 2 }),
        repositories: fc.array(pattern, { minLength: 1, maxLength: 2 }),
        actions,
      })
      .map((rule) =>
        // What the configuration takes.
        rule.who.some(isNetwork)
          ? {
              ...rule,
              who: rule.who.filter((item) => item !== 'anonymous'),
              actions: rule.actions.filter((action) => action === 'pull'),
            }
          : rule,
      ),
    { maxLength: 6 },
  ),
});

export const repositories = fc
  .array(fc.constantFrom(...components), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'));

const grantPattern = fc
  .array(fc.constantFrom(...components, '*', '**', 'a*'), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'));
/** Machine tokens with grants from a small vocabulary. */
export const machineTokens: fc.Arbitrary<MachineToken> = fc
  .record({
    name: fc.constantFrom('ci', 'alice'),
    repositories: fc.oneof(fc.constant(['**']), fc.array(grantPattern, { minLength: 1, maxLength: 2 })),
    actions: fc.subarray<Action>(['pull', 'push', 'delete'], { minLength: 1 }),
    owner: fc.option(fc.constantFrom(...users)),
  })
  .map(({ name, ...grant }) => machineToken(name, grant));
