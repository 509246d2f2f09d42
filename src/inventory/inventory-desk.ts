import { createPolicy, type RuleText } from '../policy/policy.ts';
import { createOpenPolicy } from '../policy/token-grants.ts';
import type { Policy } from '../policy/decision.ts';
import type { Principal } from '../registry/principal.ts';
import type { Finding, InventoryWork } from './findings.ts';
import type { InventoryFill, InventoryTables } from './inventory-tables.ts';
import { createVisibleRepositories, type VisibleRepositories } from './repository-page.ts';
import type {
  InventoryTag,
  RepositoryListPage,
  RepositoryListQuestion,
  TagQuestion,
} from './repository-lists.ts';

/** The keys of the configuration that say who may pull what; `policy` null: see createOpenPolicy. */
export type InventoryPolicy = {
  readonly policy: readonly RuleText[] | null;
  readonly groups: Readonly<Record<string, readonly string[]>>;
};

/** What the thread of the record is asked about the inventory. */
export type InventoryCall =
  /** From then on questions are answered by this policy; until the first none is answered. */
  | { readonly ask: 'policy'; readonly policy: InventoryPolicy }
  | { readonly ask: 'list'; readonly question: RepositoryListQuestion }
  | { readonly ask: 'tags'; readonly question: TagQuestion }
  | { readonly ask: 'next' }
  | { readonly ask: 'find'; readonly findings: readonly Finding[] }
  | { readonly ask: 'fill' };

export type InventoryReplies = {
  policy: null;
  list: RepositoryListPage | null;
  tags: readonly InventoryTag[] | null;
  next: InventoryWork | null;
  find: null;
  fill: InventoryFill | null;
};

/** Answers calls on the thread of the record, where filtering by the policy holds up no request. */
export type InventoryDesk = {
  /** @param tables null: the inventory is turned off */
  perform(
    call: InventoryCall,
    tables: InventoryTables | null,
    nowMs: number,
  ): InventoryReplies[InventoryCall['ask']];
};

export function createInventoryDesk(): InventoryDesk {
  let inEffect: { policy: Policy; visible: VisibleRepositories } | null = null;
  const known = () => {
    if (inEffect === null) throw new Error('no policy is known');
    return inEffect;
  };
  return {
    perform: (call, tables, nowMs) => {
      switch (call.ask) {
        case 'policy': {
          const policy = compile(call.policy);
          inEffect = { policy, visible: createVisibleRepositories(policy) };
          return null;
        }
        case 'list': {
          const page = tables?.list(call.question, known().visible) ?? null;
          return page && { ...page, rows: shownTo(call.question.principal, page.rows) };
        }
        case 'tags': {
          const { principal, repository } = call.question;
          const mayPull = known().policy.decide(principal, repository).actions.has('pull');
          const tags = mayPull ? (tables?.tags(call.question) ?? null) : null;
          return tags && shownTo(principal, tags);
        }
        case 'next':
          return tables?.next(nowMs) ?? null;
        case 'find':
          tables?.find(call.findings, nowMs);
          return null;
        case 'fill':
          return tables?.fill() ?? null;
      }
    },
  };
}

/** Names of users are half of what a login takes: who has none is not told them. */
function shownTo<Row extends { readonly pushedBy: string | null }>(
  { kind }: Principal,
  rows: readonly Row[],
): readonly Row[] {
  return kind === 'anonymous' ? rows.map((row) => ({ ...row, pushedBy: null })) : rows;
}

function compile({ policy: rules, groups }: InventoryPolicy): Policy {
  return rules === null ? createOpenPolicy() : createPolicy({ rules, groups });
}
