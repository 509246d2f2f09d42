import { createMachineLogins } from '../../dist/auth/machine-tokens/machine-logins.js';
import { createMachineToken, hashMachineToken } from '../../dist/auth/machine-tokens/machine-token.js';
import { formatToken, parseTokenList } from '../../dist/auth/machine-tokens/token-list.js';
import { createPolicy } from '../../dist/policy/policy.js';
import { checkGrantPattern } from '../../dist/policy/token-grants.js';
import { atMost } from '../report.mjs';
import { median, spread } from '../statistics.mjs';

const count = 10_000;
const shownCount = count.toLocaleString('en');
const teams = 100;
const loadLimitMs = 100;
const requestLimitUs = 20;

/**
 * How long a file of many machine tokens takes to load, and what one of them costs a request: its check, and the decision.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureMachineTokens(_rig, { rounds }) {
  const tokens = Array.from({ length: count }, (_, i) => ({
    name: `machine${i}`,
    token: createMachineToken(),
  }));
  const lines = tokens.map(({ name, token }, i) =>
    formatToken({
      principal: {
        kind: 'token',
        name,
        grant: {
          repositories: [`team${i % teams}/**`, 'base/*'],
          actions: ['pull', 'push'],
          owner: i % 2 === 0 ? 'alice' : null,
        },
      },
      sha256: hashMachineToken(token),
      createdMs: Date.now(),
      expiresMs: Date.now() + 90 * 24 * 60 * 60 * 1000,
    }),
  );
  const file = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  const loadMs = Array.from({ length: rounds + 1 }, () => {
    const before = process.cpuUsage();
    parseTokenList(file, checkGrantPattern);
    return microseconds(before) / 1000;
  }).slice(1);

  const { entries } = parseTokenList(file, checkGrantPattern);
  const byHash = new Map([...entries.values()].map((entry) => [entry.sha256, entry]));
  const { check } = createMachineLogins({
    tokens: { find: (name) => entries.get(name), findByHash: (sha256) => byHash.get(sha256) },
    hasUser: () => true,
    throttle: null, // of no use to what is right
    uses: { note: () => undefined },
    logger: { warn: () => undefined },
    now: Date.now,
  });
  const policy = createPolicy({
    rules: [{ who: ['group:machines', 'user:alice'], repositories: ['**'], actions: ['pull', 'push'] }],
    groups: { machines: tokens.map(({ name }) => `token:${name}`) },
  });
  const checkUs = [];
  const decideUs = [];
  for (let round = 0; round <= rounds; round++) {
    const principals = [];
    const checked = process.cpuUsage();
    for (const login of tokens) principals.push((await check({ ...login, address: '192.0.2.1' })).principal);
    const ofChecks = microseconds(checked) / count;
    const decided = process.cpuUsage();
    principals.forEach((principal, i) => policy.decide(principal, `team${i % teams}/app`));
    const ofDecisions = microseconds(decided) / count;
    if (round === 0) continue; // until it is compiled
    checkUs.push(ofChecks);
    decideUs.push(ofDecisions);
  }
  return {
    title: `${shownCount} machine tokens`,
    tables: [
      {
        head: ['', 'Time'],
        rows: [
          ['Loading their file, CPU ms', spread(loadMs)],
          ['Checking one, CPU µs', spread(checkUs)],
          ['Deciding what it may, CPU µs', spread(decideUs)],
        ],
      },
    ],
    notes: [
      'Within one process and without a request around them. Every token is checked once a round, and decided about in a repository of its team.',
    ],
    targets: [
      atMost(`loading ${shownCount} machine tokens`, median(loadMs), loadLimitMs, ' ms'),
      atMost('a request with a machine token', median(checkUs) + median(decideUs), requestLimitUs, ' µs'),
    ],
    raw: { loadMs, checkUs, decideUs },
  };
}

function microseconds(since) {
  const { user, system } = process.cpuUsage(since);
  return user + system;
}
