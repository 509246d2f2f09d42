import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hashMachineToken } from '../../../src/auth/machine-tokens/machine-token.ts';
import {
  formatToken,
  maxYamlBytes,
  parseTokenList,
  type TokenEntry,
} from '../../../src/auth/machine-tokens/token-list.ts';
import { checkGrantPattern } from '../../../src/policy/token-grants.ts';
import { machineToken } from '../../support/principals.ts';

const sha256 = hashMachineToken('x');
const other = hashMachineToken('y');
const entry: TokenEntry = {
  principal: machineToken('ci', {
    repositories: ['team/**', 'base/*'],
    actions: ['pull', 'push'],
    owner: 'zoë',
  }),
  sha256,
  createdMs: Date.UTC(2026, 10, 29, 8),
  expiresMs: Date.UTC(2027, 1, 27, 8),
};
const parse = (text: string) => parseTokenList(Buffer.from(text), checkGrantPattern);
const names = (text: string) => [...parse(text).entries.keys()];

describe('a file of machine tokens', () => {
  test('gives back what was written, also where it was laid out by hand', () => {
    const line = formatToken(entry);
    const byHand = [
      '# by hand',
      '-',
      '  name: ci',
      `  sha256: ${sha256}`,
      "  repositories: [team/**, 'base/*']",
      '  actions:',
      '    - pull',
      '    - push',
      '  created: 2026-11-29T08:00:00Z',
      '  expires: 2027-02-27T08:00:00Z',
      '  owner: zoë',
      '',
    ].join('\n');
    for (const [text, first, last] of [
      [`# Machine tokens\n\n${line}\n`, 3, 3],
      [line, 1, 1],
      [line.replaceAll('","', '", "') + '\n', 1, 1],
      [byHand, 3, 11],
    ] as const) {
      const { entries, problems } = parse(text);
      assert.deepEqual(problems, []);
      assert.deepEqual(entries.get('ci'), { ...entry, line: first, endLine: last });
    }
  });

  test('may be empty, and have tokens without creation, end and owner', () => {
    for (const text of ['', '# none\n', '\n', '---\n', '\uFEFF# none\n']) assert.deepEqual(names(text), []);
    const line = `- {name: a, sha256: ${sha256}, repositories: ['**'], actions: [pull]}\n`;
    const found = parse(line).entries.get('a');
    assert.deepEqual([found?.createdMs, found?.expiresMs, found?.principal.grant.owner], [null, null, null]);
    const dated = parse(line.replace('}', ', expires: 2027-01-31}')).entries.get('a');
    assert.equal(dated?.expiresMs, Date.UTC(2027, 0, 31));
  });

  const good = `name: ci, sha256: ${sha256}, repositories: ['**'], actions: [pull]`;
  for (const [what, item, reason] of [
    ['a word', 'word', /no mapping/],
    ['nothing', '', /no mapping/],
    ['an unknown field', `{${good}, expire: 2027-01-31}`, /a field that is none of name, /],
    ['no name', `{${good.replace('name: ci, ', '')}}`, /its name/],
    ['a name with a colon', `{${good.replace('ci', "'a:b'")}}`, /its name/],
    ['a name that is a token', `{${good.replace('ci', 'tidegate_x')}}`, /its name/],
    ['the token itself', `{${good.replace(sha256, 'tidegate_x')}}`, /its sha256/],
    ['a hash in capitals', `{${good.replace(sha256, sha256.toUpperCase())}}`, /its sha256/],
    ['no repositories', `{${good.replace("['**']", '[]')}}`, /its repositories/],
    ['one repository', `{${good.replace("['**']", 'a')}}`, /its repositories/],
    ['a pattern that is none', `{${good.replace("'**'", "'a**'")}}`, /one of its repositories has a "\*\*"/],
    ['${user}', `{${good.replace("'**'", "'home/${user}'")}}`, /one of its repositories cannot have/],
    ['no actions', `{${good.replace('[pull]', '[]')}}`, /its actions/],
    ['overwrite', `{${good.replace('pull', 'overwrite')}}`, /its actions/],
    ['a local time', `{${good}, expires: 2027-01-31T12:00:00+02:00}`, /its expires/],
    ['a day that there is not', `{${good}, expires: 2027-02-31}`, /its expires/],
    ['a null end', `{${good}, expires: null}`, /its expires/],
    ['an owner left empty', `{${good}, owner: }`, /its owner/],
    [
      'a null owner',
      JSON.stringify({ name: 'ci', sha256, repositories: ['**'], actions: ['pull'], owner: null }),
      /its owner/,
    ],
    ['an owner of no letters', `{${good}, owner: ''}`, /its owner/],
    ['an owner with a colon', `{${good}, owner: 'a:b'}`, /its owner/],
  ] as const) {
    test(`an entry with ${what} never matches, and takes no other with it`, () => {
      const text = `- {name: other, sha256: ${other}, repositories: ['**'], actions: [pull]}\n- ${item}\n`;
      const { entries, problems } = parse(text);
      assert.deepEqual([...entries.keys()], ['other']);
      assert.deepEqual(
        problems.map(({ line }) => line),
        [2],
      );
      assert.match(problems[0]?.reason ?? '', reason);
      assert.ok(!problems[0]?.reason.includes(sha256));
    });
  }

  test('the first of a name, or of a hash, counts, even where it cannot be used', () => {
    const line = (name: string, hash: string, actions = '[pull]') =>
      `- {name: ${name}, sha256: ${hash}, repositories: ['**'], actions: ${actions}}\n`;
    assert.deepEqual(names(line('a', sha256) + line('a', other) + line('b', sha256)), ['a']);
    assert.deepEqual(names(line('a', sha256, '[fly]') + line('a', other)), []);
    assert.deepEqual(parse(line('a', sha256) + line('a', other)).problems[0]?.line, 2);
  });

  test('no alias is followed, and no field may be there twice', () => {
    const shared = `- &one {${good}}\n- {name: b, sha256: ${other}, repositories: ['**'], actions: *all}\n`;
    assert.deepEqual(names(shared), ['ci']);
    assert.deepEqual(names(`- &one {${good}}\n- *one\n`), ['ci']);
    const twice = formatToken(entry).replace('}', ',"repositories":["**"]}');
    assert.throws(() => parse(`# \n${twice}\n`), /line 2/);
  });

  for (const [what, text] of [
    ['broken', '- {name: ci\n'],
    ['a mapping', 'tokens: []\n'],
    ['a word', 'tokens\n'],
    ['a list in brackets', `[{${good}}]\n`],
    ['two documents', '---\n- a\n---\n- b\n'],
  ] as const) {
    test(`is refused as a whole when it is ${what}`, () => {
      assert.throws(() => parse(text), /line \d/);
    });
  }

  test('is refused when it is long and a line is not as `tidegate token` writes it', () => {
    const line = (name: string) =>
      formatToken({ ...entry, principal: machineToken(name), sha256: hashMachineToken(name) });
    const lines = Array.from({ length: 2000 }, (_, index) => `${line(`ci${index}`)}\n`);
    assert.ok(lines.join('').length > maxYamlBytes);
    assert.equal(names(lines.join('')).length, 2000);
    assert.equal(names(`${lines.slice(0, 9).join('')}${line('mine')} # mine\n`).length, 10);
    assert.throws(
      () => parse(`${lines.join('')}${line('mine')} # mine\n`),
      /^Error: line 2001: .*tidegate token.* more than 262144 bytes: write each token on one line/,
    );
  });

  test('is refused when it is no text in UTF-8', () => {
    assert.throws(() => parseTokenList(Buffer.from([0x23, 0xff]), checkGrantPattern), /UTF-8/);
  });
});
