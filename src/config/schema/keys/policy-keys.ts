import * as z from 'zod';
import { overlaps, parseNetwork } from '../../../http/network.ts';
import { namesOwnJobs, parseClaimPattern } from '../../../policy/job-pattern.ts';
import { policyActions } from '../../../policy/decision.ts';
import { parseRepositoryPattern } from '../../../policy/repository-pattern.ts';
import { parseTagPattern } from '../../../policy/tag-pattern.ts';
import type { WhoText } from '../../../policy/who.ts';
import { key, tree } from '../types/key-type.ts';

/** A name of the htpasswd file, or a machine token. */
const member = z.string().regex(/^(?:[^:\p{Cc}]{1,255}|token:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$/u);
const groupName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const networkWord = /^network:(.*)$/s;
const word = z.string().check((context) => {
  const [, network] = networkWord.exec(context.value) ?? [];
  if (network !== undefined) {
    checkPattern(context, network, parseNetwork);
    return;
  }
  if (
    /^(?:anonymous|authenticated|user:[^:\p{Cc}]{1,255}|group:[^:\p{Cc}]+|token:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$/u.test(
      context.value,
    )
  )
    return;
  const message = `${JSON.stringify(context.value.slice(0, 60))} is nobody: write anonymous, network:CIDR, authenticated, user:NAME, group:NAME, token:NAME or { oidc: NAME, claims: … }`;
  context.issues.push({ code: 'custom', message, input: context.value });
});

const claims = z.record(z.string(), pattern(parseClaimPattern)).check((context) => {
  if (namesOwnJobs(context.value)) return;
  const message =
    'match the jobs of everyone: name a claim beside aud and iss that says whose jobs they are, such as repository_owner_id, and not by stars alone';
  context.issues.push({ code: 'custom', message, input: context.value });
});
const jobs = z.strictObject({ oidc: z.string(), claims });

const rule = z.strictObject({
  who: z.array(z.union([word, jobs])).min(1),
  repositories: z.array(pattern(parseRepositoryPattern)).min(1),
  actions: z.array(z.enum(policyActions)),
});

/** `groups`: names for several users at once. */
export const groups = key(
  tree(
    z.record(z.string().regex(groupName), z.array(member)),
    'a mapping of names of groups, each with a list of names of users and of token:NAME',
  ),
  {},
  'Groups of users and machine tokens for rules, such as { ci: [builder1, builder2] }. Every group that a rule names must be listed here.',
);

/** `policy`: who may do what. */
export const policy = key(
  tree(
    z.array(rule).nullable(),
    'a list of rules { who, repositories, actions }; who: anonymous, network:CIDR, authenticated, user:NAME, group:NAME, token:NAME, { oidc: NAME, claims: { CLAIM: PATTERN } }; actions: pull, push, delete, overwrite',
  ),
  null,
  'Who may do what where. The first rule whose who and repositories match decides by its actions; a request that no rule matches is denied. Without this key every verified user may do everything, and a machine token what its scopes allow.',
);

/** `immutableTags`: tags that stay as they were pushed. */
export const immutableTags = key(
  tree(z.array(pattern(parseTagPattern)), 'a list of patterns REPOSITORIES:TAGS, such as "team/**:v*"'),
  [],
  'Tags that nobody can move or delete after the push, except users and machine tokens whom a rule allows to overwrite.',
);

type RulesOfWho = readonly { readonly who: readonly WhoText[] }[] | null;
type Fault = { readonly path: (string | number)[]; readonly message: string };

/** Refuses rules for jobs of an unknown issuer, and issuers without a policy, the only thing that lets a job do anything. */
export function findIssuerFaults(config: {
  readonly policy: RulesOfWho;
  readonly auth: { readonly oidc: readonly { readonly name: string }[] };
}): Fault[] {
  const { policy: rules, auth } = config;
  if (rules === null && auth.oidc.length > 0)
    return [{ path: ['auth', 'oidc'], message: 'needs a policy: only its rules let a job do anything' }];
  return (rules ?? []).flatMap((rule, ruleIndex) =>
    rule.who.flatMap((item, index) => {
      if (typeof item === 'string' || auth.oidc.some(({ name }) => name === item.oidc)) return [];
      const message = `names the issuer ${JSON.stringify(item.oidc.slice(0, 60))}, which is not in auth.oidc`;
      return [{ path: ['policy', ruleIndex, 'who', index, 'oidc'], message }];
    }),
  );
}

/**
 * Refuses rules for networks that allow more than a pull, that are for every client without credentials anyway, or that
 * hold a trusted proxy: each request that it forwards without naming the client seems to come from there.
 */
export function findNetworkFaults(config: {
  readonly policy:
    readonly { readonly who: readonly WhoText[]; readonly actions: readonly string[] }[] | null;
  readonly listen: { readonly trustedProxies: readonly string[] };
}): Fault[] {
  const { policy: rules, listen } = config;
  return (rules ?? []).flatMap(({ who, actions }, ruleIndex) => {
    const found = who.flatMap((item, index) => {
      const text = typeof item === 'string' ? networkWord.exec(item)?.[1] : undefined;
      return text === undefined ? [] : [{ text, path: ['policy', ruleIndex, 'who', index] }];
    });
    if (found.length === 0) return [];
    const faults = found.flatMap(({ text, path }): Fault[] => {
      const network = parseNetwork(text);
      const proxy = listen.trustedProxies.find((trusted) => overlaps(network, trusted));
      if (who.includes('anonymous'))
        return [
          {
            path,
            message: `adds nothing to anonymous, which is every client without credentials, from any address: write only one of them`,
          },
        ];
      if (proxy === undefined) return [];
      const message = `has addresses of the trusted proxy ${proxy}: every request that the proxy forwards without X-Forwarded-For would count as one from this network. Write smaller networks without the proxy, or give it an address outside`;
      return [{ path, message }];
    });
    if (actions.every((action) => action === 'pull')) return faults;
    const message =
      'may only be pull in a rule for a network, whose clients show no password: write another rule for the rest';
    return [...faults, { path: ['policy', ruleIndex, 'actions'], message }];
  });
}

/** Refuses a rule with an unknown group: its name is misspelt, and the rule would match fewer users than intended. */
export function findUnknownGroups(config: {
  readonly groups: Readonly<Record<string, unknown>>;
  readonly policy: RulesOfWho;
}): Fault[] {
  return (config.policy ?? []).flatMap((rule, ruleIndex) =>
    rule.who.flatMap((item, index) => {
      const name = typeof item === 'string' ? /^group:(.*)$/s.exec(item)?.[1] : undefined;
      if (name === undefined || Object.hasOwn(config.groups, name)) return [];
      const message = `names the group ${JSON.stringify(name)}, which is not in groups`;
      return [{ path: ['policy', ruleIndex, 'who', index], message }];
    }),
  );
}

function pattern(parse: (text: string) => unknown) {
  return z.string().check((context) => checkPattern(context, context.value, parse));
}

function checkPattern(
  context: z.core.ParsePayload<string>,
  text: string,
  parse: (text: string) => unknown,
): void {
  try {
    parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `${JSON.stringify(text.slice(0, 60))} ${error.message}`;
    context.issues.push({ code: 'custom', message, input: context.value });
  }
}
