import { jobUser } from '../../auth/oidc/job-logins.ts';
import { policyActions } from '../../policy/decision.ts';
import {
  parseClientAddress,
  parsePrincipal,
  parseRepository,
  parseTag,
  type PolicyQuery,
} from '../../policy/policy-query.ts';
import type { Problem } from '../../config/load/problem.ts';
import { parseYamlTree, type YamlMapping, type YamlNode } from '../../config/load/yaml-tree.ts';

/** An expected decision of a policy. */
export type PolicyExpectation = PolicyQuery & {
  /** `file:line` */
  readonly place: string;
  /** Where the client without credentials is; null: in no network that a rule names. */
  readonly address: string | null;
  readonly allowed: boolean;
  /** The file with the claims of an ID token, whose job is meant instead of the user `oidc`; null: none is named. */
  readonly claims: string | null;
};

/** The fields of a row with their allowed values; `address`, `tag` and `claims` may be left out. */
const fields: Readonly<Record<string, string>> = {
  user: 'anonymous, a name, user:NAME, or token:NAME',
  address: 'the IPv4 or IPv6 address of an anonymous client',
  action: policyActions.join(', '),
  repository: "a repository's name, such as team/app",
  tag: 'a tag, such as v1.2',
  allowed: 'true, false',
  claims: 'a file with the claims of an ID token, where the user is oidc',
};

/**
 * Parses a table of expectations, a list of { user, address, action, repository, tag, allowed }; `shown` is the file's name in
 * messages.
 */
export function parseExpectations(
  text: string,
  shown: string,
): { rows: readonly PolicyExpectation[]; problems: readonly Problem[] } {
  const { root, faults } = parseYamlTree(text);
  const problems: Problem[] = faults.map(({ line, wrong }) => ({ place: `${shown}:${line}`, wrong }));
  if (problems.length > 0 || root === undefined) return { rows: [], problems };
  if (root.kind !== 'list' || root.items.length === 0) {
    const wrong = 'must be a list of { user, address, action, repository, tag, allowed }, with at least one';
    return { rows: [], problems: [{ place: `${shown}:${root.line}`, wrong }] };
  }
  const rows = root.items.flatMap((item) => readRow(item, shown, problems) ?? []);
  return { rows, problems };
}

function readRow(node: YamlNode, shown: string, problems: Problem[]): PolicyExpectation | undefined {
  const place = `${shown}:${node.line}`;
  if (node.kind !== 'mapping') {
    problems.push({
      place,
      wrong: `a ${node.kind} is not an expectation`,
      allowed: Object.keys(fields).join(', '),
    });
    return undefined;
  }
  const before = problems.length;
  for (const [name, { line }] of node.entries)
    if (!Object.hasOwn(fields, name))
      problems.push({
        place: `${shown}:${line}`,
        key: name,
        wrong: 'there is no such field',
        allowed: Object.keys(fields).join(', '),
      });
  const read = <T>(name: string, parse: (value: unknown) => T | undefined): T | undefined =>
    readField(node, name, parse, shown, problems);
  const principal = read('user', (value) => ofText(value, parsePrincipal));
  const address = node.entries.has('address')
    ? read('address', (value) =>
        (principal?.kind ?? 'anonymous') === 'anonymous' ? ofText(value, parseClientAddress) : undefined,
      )
    : null;
  const action = read('action', (value) => policyActions.find((one) => one === value));
  const repository = read('repository', (value) => ofText(value, parseRepository));
  const tag = node.entries.has('tag') ? read('tag', (value) => ofText(value, parseTag)) : null;
  const claims = node.entries.has('claims')
    ? read('claims', (value) =>
        typeof value === 'string' && value !== '' && isJobUser(principal) ? value : undefined,
      )
    : null;
  const allowed = read('allowed', (value) => (typeof value === 'boolean' ? value : undefined));
  if (problems.length > before) return undefined;
  if (principal === undefined || action === undefined || repository === undefined) return undefined;
  if (address === undefined || tag === undefined || allowed === undefined || claims === undefined)
    return undefined;
  return { place, principal, address, action, repository, tag, allowed, claims };
}

/** Whether a principal of a command or table stands for a job, where claims are given. */
export function isJobUser(principal: PolicyQuery['principal'] | undefined): boolean {
  return principal?.kind === 'user' && principal.name === jobUser;
}

function ofText<T>(value: unknown, parse: (text: string) => T): T | undefined {
  return typeof value === 'string' ? parse(value) : undefined;
}

function readField<T>(
  { line: rowLine, entries }: YamlMapping,
  name: string,
  parse: (value: unknown) => T | undefined,
  shown: string,
  problems: Problem[],
): T | undefined {
  const entry = entries.get(name);
  const problem = { place: `${shown}:${entry?.line ?? rowLine}`, key: name, allowed: fields[name] ?? '' };
  if (entry === undefined) {
    problems.push({ ...problem, wrong: 'is missing' });
    return undefined;
  }
  const value = entry.node.kind === 'scalar' ? entry.node.value : undefined;
  const shownValue = typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value);
  const isUnquoted = name !== 'allowed' && (typeof value === 'number' || typeof value === 'boolean');
  try {
    const parsed = parse(value);
    if (parsed === undefined) {
      const nothing = value === undefined ? `must be a value, not a ${entry.node.kind}` : undefined;
      const wrong = isUnquoted ? `${shownValue} is not text: quote it` : `${shownValue} is not allowed`;
      problems.push({ ...problem, wrong: nothing ?? wrong });
    }
    return parsed;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.push({ ...problem, wrong: `${shownValue} ${error.message}` });
    return undefined;
  }
}
