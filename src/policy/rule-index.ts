/** Rules filed under keys, and those that may match any key; both in order. */
export type RuleIndex<R> = {
  /** Every rule that can match under this key. */
  find(key: string): Candidates<R>;
};

export type Candidates<R> = readonly [some: readonly R[], others: readonly R[]];

/**
 * Files rules under the keys that `keysOf` returns; null: under any.
 * @param rules in their order, which `firstMatch` keeps
 */
export function createRuleIndex<R extends { readonly order: number }>(
  rules: readonly R[],
  keysOf: (rule: R) => Iterable<string> | null,
): RuleIndex<R> {
  const filed = new Map<string, R[]>();
  const others: R[] = [];
  for (const rule of rules) {
    const keys = keysOf(rule);
    if (keys === null) others.push(rule);
    else
      for (const key of new Set(keys)) {
        const list = filed.get(key);
        if (list) list.push(rule);
        else filed.set(key, [rule]);
      }
  }
  return { find: (key) => [filed.get(key) ?? [], others] };
}

/** Returns the first matching rule of both lists, in the order of the rules. */
export function firstMatch<R extends { readonly order: number }>(
  [some, others]: Candidates<R>,
  matches: (rule: R) => boolean,
): R | undefined {
  let next = 0;
  for (const other of others) {
    for (let rule = some[next]; rule !== undefined && rule.order < other.order; rule = some[next]) {
      if (matches(rule)) return rule;
      next += 1;
    }
    if (matches(other)) return other;
  }
  return some.slice(next).find(matches);
}
