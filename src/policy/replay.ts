import { accessOf } from '../registry/access.ts';
import { parseOperation, type Operation } from '../registry/operation.ts';
import type { Job, Principal } from '../registry/principal.ts';
import { parseTarget, type CanonicalTarget } from '../registry/target.ts';
import { tokenPath } from '../registry/token-scope.ts';
import { mayDoAnything, type Policy } from './decision.ts';
import type { Judge } from './judgement.ts';
import type { TokenGrants } from './policy-query.ts';

/** What a policy needs to know of a request, as the access log has it. */
export type LoggedRequest = {
  /** The text of the principal; null: anonymous. */
  readonly user: string | null;
  /** The client's address; null: the line has none. */
  readonly client: string | null;
  readonly method: string;
  /** Without the query; null if the target was not a path. */
  readonly path: string | null;
  readonly status: number;
  /** The code of Tidegate's own error; null: upstream answered. */
  readonly code: string | null;
  readonly reason: string | null;
};

/** Requests with the same decision. */
export type ReplayRow = {
  readonly principal: Principal;
  /** `pull`, `push`, `delete`; for an unknown request its method. */
  readonly action: string;
  /** A repository, or a placeholder for one. */
  readonly repository: string;
  readonly by: ReplayDecision;
  readonly requests: number;
};

/** What decides under the new policy. */
type ReplayDecision = {
  /** Counted from 1; null: no rule. */
  readonly rule: number | null;
  /** The pattern of immutable tags that protects a tag, counted from 1; null: none. */
  readonly tagPattern: number | null;
};

/** Requests of one kind: their number, and rows, most requests first. */
type Changes = { readonly requests: number; readonly rows: readonly ReplayRow[] };

export type ReplayReport = {
  /** Requests that the policy decided. */
  readonly judged: number;
  /** Requests that passed and would be refused now. */
  readonly refused: Changes;
  /** Requests that rules refused, or that lacked credentials, and that would pass now. */
  readonly allowed: Changes;
  /** Lists of repositories, which show only what may be pulled. */
  readonly lists: number;
  /** Requests that no rule could decide, by reason. */
  readonly passedOver: ReadonlyMap<string, number>;
};

export type Replay = {
  readonly read: (request: LoggedRequest) => void;
  readonly report: () => ReplayReport;
};

/** The most rows that are kept, about 300 bytes each; further requests are only counted. */
export const maxReplayRows = 10_000;

/** The longest path in the access log, in characters; one of this length may have been cut. */
const maxLoggedPath = 512;
const repositoryReason = /^denied-by-(?:rule-[0-9]+|no-rule|scopes|owner)$/;

/** What the log does not say of machine tokens and jobs, but their names. */
type KnownPrincipals = {
  /** Null: not known, and machine tokens are left out. */
  readonly grants: TokenGrants | null;
  /** By their texts in the log; others are left out. */
  readonly jobs: ReadonlyMap<string, Job>;
};

/** Decides the requests of a log again. The log has no queries, so mounts and `?tag=` are left out. */
export function createReplay({
  judge,
  openPaths,
  ...known
}: KnownPrincipals & { judge: Judge; openPaths: ReadonlySet<string> }): Replay {
  const refused = createRows();
  const allowed = createRows();
  const passedOver = new Map<string, number>();
  let judged = 0;
  let lists = 0;

  const passOver = (why: string) => void passedOver.set(why, (passedOver.get(why) ?? 0) + 1);
  const read: Replay['read'] = (request) => {
    const before = outcomeOf(request);
    const access = before === null ? 'it was refused for another reason' : readAccess(request, openPaths);
    const principal = principalOf(request, judge.policy, known);
    if (typeof access === 'string') {
      passOver(access);
      return;
    }
    if (typeof principal === 'string') {
      passOver(principal);
      return;
    }
    const now = decide(judge, principal, access);
    judged += 1;
    if (access.kind === 'list') lists += 1;
    if (before === 'passed' && !now.allowed) refused.add(principal, access, now.by);
    if (before === 'refused' && now.allowed) allowed.add(principal, access, now.by);
  };
  return {
    read,
    report: () => ({ judged, refused: refused.list(), allowed: allowed.list(), lists, passedOver }),
  };
}

/** Returns a reason if the line does not say enough. */
function principalOf(
  { user, client }: LoggedRequest,
  policy: Policy,
  { grants, jobs }: KnownPrincipals,
): Principal | string {
  if (user === null) return policy.anonymousAt(client ?? '');
  const [, kind, name = ''] = /^([^:]*):(.*)$/s.exec(user) ?? [];
  if (kind === undefined) return { kind: 'user', name: user };
  if (kind === 'job') return jobs.get(user) ?? 'no --oidc-claims are of its job';
  const grant = kind === 'token' ? grants?.get(name) : undefined;
  return grant === undefined ? 'who sent it is not known now' : { kind: 'token', name, grant };
}

/** The original decision that depended on the principal; null: there was none. */
function outcomeOf({ user, status, code, reason }: LoggedRequest): 'passed' | 'refused' | null {
  if (reason !== null && (repositoryReason.test(reason) || reason === 'denied-unknown-request'))
    return 'refused';
  if (reason === 'no-credentials') return 'refused';
  const isOwn = code !== null;
  if (isOwn && user === null) return null;
  return isOwn && status >= 400 && status < 500 && status !== 413 ? null : 'passed';
}

type LoggedAccess = {
  readonly kind: 'repository' | 'all' | 'list' | 'unknown';
  readonly action: string;
  readonly repository: string;
  readonly tag: string | null;
};

/** Returns a reason if the request needs no permission. */
function readAccess({ method, path }: LoggedRequest, openPaths: ReadonlySet<string>): LoggedAccess | string {
  if (path === null) return 'it was not a path of a registry';
  if (path.length >= maxLoggedPath) return 'its path is cut in the log';
  let target: CanonicalTarget;
  try {
    target = parseTarget(path);
  } catch {
    return 'it was not a path of a registry';
  }
  if (path === tokenPath) return 'it asked for a token';
  const operation = parseOperation(method, target, openPaths);
  if (operation.kind === 'outside' || operation.kind === 'console') return 'it was not a path of a registry';
  const access = accessOf(operation);
  if (access === null)
    return { kind: 'unknown', action: method, repository: '(a request of no known kind)', tag: null };
  switch (access.kind) {
    case 'free':
      return 'it needs no right in a repository';
    case 'catalog':
    case 'search':
      return { kind: 'list', action: 'pull', repository: '(the list of repositories)', tag: null };
    case 'all-repositories':
      return { kind: 'all', action: access.action, repository: '(all repositories)', tag: null };
    case 'repository':
      return {
        kind: 'repository',
        action: access.action,
        repository: access.repository,
        tag: tagOf(operation),
      };
  }
}

function tagOf(operation: Operation): string | null {
  return operation.kind === 'manifest' || operation.kind === 'v1-repository' ? operation.tag : null;
}

function decide(
  { judge, policy, hasRules }: Judge,
  principal: Principal,
  { kind, action, repository, tag }: LoggedAccess,
): { allowed: boolean; by: ReplayDecision } {
  const noRule: ReplayDecision = { rule: null, tagPattern: null };
  switch (kind) {
    case 'unknown':
      return { allowed: !hasRules && principal.kind === 'user', by: noRule };
    case 'list':
      return { allowed: maySeeLists(policy, principal), by: noRule };
    case 'all': {
      const { rule, actions } = policy.decideForAll(principal);
      const by = hasRules ? { rule, tagPattern: null } : noRule;
      return { allowed: actions.has(action as 'pull' | 'push'), by };
    }
    case 'repository': {
      const query = { principal, action: action as 'pull' | 'push' | 'delete', repository, tag };
      const { allowed, rule, isTagKept, immutableBy } = judge(query);
      return { allowed, by: { rule, tagPattern: isTagKept ? immutableBy : null } };
    }
  }
}

function maySeeLists(policy: Judge['policy'], principal: Principal): boolean {
  if (principal.kind === 'job') return mayDoAnything(policy, principal);
  return principal.kind !== 'anonymous' || policy.mayAnywhere(principal, 'pull');
}

function createRows(): {
  add(principal: Principal, access: LoggedAccess, by: ReplayDecision): void;
  list(): Changes;
} {
  const rows = new Map<string, { row: Omit<ReplayRow, 'requests'>; requests: number }>();
  let all = 0;
  return {
    add: (principal, { action, repository }, by) => {
      all += 1;
      const key = JSON.stringify([principal, action, repository, by.rule, by.tagPattern]);
      const known = rows.get(key);
      if (known !== undefined) known.requests += 1;
      else if (rows.size < maxReplayRows)
        rows.set(key, { row: { principal, action, repository, by }, requests: 1 });
    },
    list: () => ({
      requests: all,
      rows: [...rows.values()]
        .map(({ row, requests }) => ({ ...row, requests }))
        .sort((a, b) => b.requests - a.requests),
    }),
  };
}
