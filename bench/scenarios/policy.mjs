import { createPolicy } from '../../dist/policy/policy.js';
import { atMost } from '../report.mjs';
import { median, spread } from '../statistics.mjs';

const users = 10_000;
const rules = 1000;
const decisions = 20_000;
const limitUs = 20;

/**
 * Measures a decision with many rules and users, remembered and not remembered.
 * @type {import('../run.mjs').Scenario}
 */
export async function measurePolicy(_rig, { rounds }) {
  const names = Array.from({ length: users }, (_, i) => `user${i}`);
  const groups = Object.fromEntries(
    Array.from({ length: rules }, (_, i) => [`team${i}`, names.filter((_, user) => user % rules === i)]),
  );
  const principals = names.map((name) => ({ kind: 'user', name }));
  const everyone = { everyone: names };
  const cases = [
    ['each rule for a team and its repositories', groups, (i) => rule(`group:team${i}`, `team${i}/**`)],
    ['each rule for a team, in all repositories', groups, (i) => rule(`group:team${i}`, '**')],
    [
      'each rule for everyone, in repositories of one name',
      everyone,
      (i) => rule('group:everyone', `*/app${i}`),
    ],
    ['each rule with each user’s own repositories', {}, (i) => rule('authenticated', `home${i}/\${user}/**`)],
    ['each rule made to backtrack', {}, (i) => rule('authenticated', `**/a*a*a*a*/**/a*${i}*b/**`)],
  ];
  const results = cases.map(([name, itsGroups, makeRule]) => {
    const policy = () =>
      createPolicy({ rules: Array.from({ length: rules }, (_, i) => makeRule(i)), groups: itsGroups });
    // Every one is asked for once by somebody, so that none is remembered, and decided by a late rule or by none.
    const count = name.includes('backtrack') ? 200 : decisions;
    const asked = Array.from({ length: count }, (_, i) => {
      const number = i % rules;
      const repository = name.includes('backtrack')
        ? `${'aaa/'.repeat(10)}a${i}`
        : name.includes('one name')
          ? `x${i}/app${rules - 1 - number}`
          : name.includes('own')
            ? `home${rules - 1 - number}/user${i % users}/app${i}`
            : `team${number}/app${i}`;
      return [principals[i % users], repository];
    });
    const fresh = [];
    const remembered = [];
    for (let round = 0; round <= rounds; round++) {
      const { decide } = policy();
      const freshUs = time(asked, decide);
      const few = Array.from({ length: decisions }, (_, i) => asked[i % Math.min(5000, count)]);
      time(few, decide);
      const rememberedUs = time(few, decide);
      if (round === 0) continue; // warm-up
      fresh.push(freshUs);
      remembered.push(rememberedUs);
    }
    return { name, fresh, remembered };
  });
  return {
    title: `Deciding with ${rules} rules and ${users} users`,
    tables: [
      {
        head: ['Rules', 'CPU µs, asked for the first time', 'CPU µs, asked for again'],
        rows: results.map(({ name, fresh, remembered }) => [name, spread(fresh), spread(remembered)]),
      },
    ],
    notes: [
      `Means over ${decisions} decisions, within one process and without a request around them. Of the last kind each pattern is tried against a name of eleven parts.`,
    ],
    targets: results
      .filter(({ name }) => !name.includes('backtrack'))
      .map(({ name, fresh }) => atMost(`decision, ${name}`, median(fresh), limitUs, ' µs')),
    raw: results,
  };
}

function rule(who, repositories) {
  return { who: [who], repositories: [repositories], actions: ['pull'] };
}

/** CPU time per decision, in microseconds. */
function time(asked, decide) {
  const before = process.cpuUsage();
  for (const [principal, repository] of asked) decide(principal, repository);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / asked.length;
}
