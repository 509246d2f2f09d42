import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { findCleanWarnings } from '../../../src/cli/clean/clean-warnings.ts';
import { findProblems, folder, loadText } from './load-text.ts';

/** A list of rules, each of a line that begins `    - { `: the first is line 3. */
const listOf = (...rules: string[]) =>
  ['clean:', '  rules:', ...rules.map((rule) => `    - { ${rule} }`)].join('\n');
const all = 'repositories: ["**"], tags: ["*"]';
const day = 86_400_000;

describe('loadConfig: clean', () => {
  it('has defaults, so that the section may be absent', async () => {
    const { config } = await loadText('{}');
    assert.deepEqual(config.clean, {
      schedule: null,
      grace: day,
      quarantine: 7 * day,
      rules: [],
      untagged: 7 * day,
      socket: path.join(folder, 'var/clean/clean.sock'),
      pace: 100,
      digestMemory: 512 * 1024 ** 2,
      collector: [],
      restart: [],
      maxPause: 1_800_000,
    });
  });

  it('reads rules with durations in milliseconds', async () => {
    const text = listOf(
      'repositories: ["**"], tags: ["v*", latest], keep: forever',
      'repositories: ["ci/**"], tags: ["*"], keep: { newest: 10, pushedWithin: 30d, pulledWithin: 90d }',
    );
    const { config } = await loadText(`${text}\n  untagged: never\n  schedule: "@daily"`);
    assert.equal(config.clean.untagged, null);
    assert.equal(config.clean.schedule, '@daily');
    assert.deepEqual(config.clean.rules, [
      { repositories: ['**'], tags: ['v*', 'latest'], keep: 'forever' },
      {
        repositories: ['ci/**'],
        tags: ['*'],
        keep: { newest: 10, pushedWithin: 30 * day, pulledWithin: 90 * day },
      },
    ]);
  });

  it('reads commands and rules from the environment as YAML', async () => {
    const env = {
      TIDEGATE_CLEAN_COLLECTOR: '[docker-registry, garbage-collect, "a,b.yml"]',
      TIDEGATE_CLEAN_RULES: `[{ ${all}, keep: { newest: 1 } }]`,
      TIDEGATE_CLEAN_SCHEDULE: '',
    };
    const { clean } = (await loadText('clean: { schedule: "@daily" }', { env })).config;
    assert.deepEqual(clean.collector, ['docker-registry', 'garbage-collect', 'a,b.yml']);
    assert.deepEqual(clean.rules[0]?.keep, { newest: 1 });
    assert.equal(clean.schedule, null);
  });

  const keep = 'keep: { newest: 1 }';
  for (const [name, text, problem] of [
    [
      'an unknown key of a rule',
      listOf(`${all}, ${keep}, tag: [x]`),
      'x.yml:3: clean.rules: there is no such key: tag, did you mean tags?',
    ],
    [
      'an unknown key of keep',
      listOf(`${all}, keep: { newest: 1, pushWithin: 1d }`),
      'x.yml:3: clean.rules.keep: there is no such key: pushWithin, did you mean pushedWithin?',
    ],
    ['no keep', listOf(all), 'x.yml:3: clean.rules.keep: is missing'],
    ['no tags', listOf(`repositories: ["**"], ${keep}`), 'x.yml:3: clean.rules.tags: is missing'],
    [
      'tags of none',
      listOf(`repositories: ["**"], tags: [], ${keep}`),
      'x.yml:3: clean.rules.tags: must have at least one item',
    ],
    [
      'a keep that keeps nothing',
      listOf(`${all}, keep: {}`),
      'x.yml:3: clean.rules.keep: needs at least one of newest, pushedWithin and pulledWithin',
    ],
    [
      'another word',
      listOf(`${all}, ${keep}`, `${all}, keep: always`),
      'x.yml:4: clean.rules.keep: "always" is not allowed: write forever, or { newest, pushedWithin, pulledWithin }',
    ],
    ['a number for keep', listOf(`${all}, keep: 3`), 'x.yml:3: clean.rules.keep: 3 is not allowed'],
    ['newest of none', listOf(`${all}, keep: { newest: 0 }`), 'x.yml:3: clean.rules.keep.newest: must'],
    [
      'a duration without unit',
      listOf(`${all}, keep: { pushedWithin: 30 }`),
      'x.yml:3: clean.rules.keep.pushedWithin: 30 is not text (quote it)',
    ],
    [
      'a duration of nothing',
      listOf(`${all}, keep: { pushedWithin: 0s }`),
      'x.yml:3: clean.rules.keep.pushedWithin: 0s is too small',
    ],
    [
      'a pattern that is none',
      listOf(`repositories: ["Team/**"], tags: ["*"], ${keep}`),
      'x.yml:3: clean.rules.repositories: "Team/**" can match nothing',
    ],
    [
      'a pattern of users',
      listOf(`repositories: ["\${user}/**"], tags: ["*"], ${keep}`),
      'x.yml:3: clean.rules.repositories: "${user}/**" has a "$": a rule is the same for all users',
    ],
    [
      'a tag that is none',
      listOf(`repositories: ["**"], tags: ["v/*"], ${keep}`),
      'x.yml:3: clean.rules.tags: "v/*" is no pattern of tags: letters, digits, ".", "_", "-" and "*"',
    ],
    [
      'a schedule that is none',
      'clean:\n  schedule: 3:30',
      'x.yml:2: clean.schedule: "3:30" is no cron expression; allowed: a cron',
    ],
    [
      'a schedule with seconds',
      'clean:\n  schedule: "0 30 3 * * *"',
      'x.yml:2: clean.schedule: "0 30 3 * * *" is no cron expression',
    ],
    [
      'a schedule of no date',
      'clean:\n  schedule: "0 0 31 2 *"',
      'x.yml:2: clean.schedule: "0 0 31 2 *" names no date that there is',
    ],
    [
      'another word for untagged',
      'clean:\n  untagged: always',
      'x.yml:2: clean.untagged: "always" is not allowed; allowed: never, or',
    ],
    [
      'a pace of nothing',
      'clean:\n  pace: 0',
      'x.yml:2: clean.pace: 0 is not allowed; allowed: a whole number from 1 to 100',
    ],
    [
      'a command in one text',
      'clean:\n  collector: docker-registry',
      'x.yml:2: clean.collector: "docker-registry" is not a list',
    ],
    [
      'a command without program',
      'clean:\n  collector: [""]',
      'x.yml:2: clean.collector: must begin with a program',
    ],
    [
      'a restart without collector',
      'clean:\n  restart: [systemctl]',
      'x.yml:2: clean.restart: needs clean.collector',
    ],
    [
      'an unknown key',
      'clean:\n  grase: 1h',
      'x.yml:2: clean.grase: there is no such key, did you mean clean.grace?',
    ],
  ] as const)
    it(`refuses ${name}`, async () => {
      const problems = await findProblems(text);
      assert.equal(problems.length, 1, problems.join('\n'));
      assert.ok(problems[0]?.startsWith(problem), problems[0]);
    });

  it('refuses more than 256 rules', async () => {
    const rules = Array<string>(257).fill(`${all}, ${keep}`);
    assert.match((await findProblems(listOf(...rules))).join(), /clean\.rules: has more than 256 rules/);
  });

  it('warns of a grace under 1h, at its line', async () => {
    assert.deepEqual(findCleanWarnings(await loadText('clean:\n  grace: 59m')), [
      'x.yml:2: clean.grace: is under 1h: a push under way during a run may have to send a layer again.',
    ]);
    assert.deepEqual(findCleanWarnings(await loadText('clean:\n  grace: 1h')), []);
    assert.equal(findCleanWarnings(await loadText('clean:\n  grace: 0')).length, 1);
  });
});
