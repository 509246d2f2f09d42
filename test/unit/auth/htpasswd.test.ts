import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  decodeHtpasswd,
  encodeHtpasswd,
  maxHtpasswdBytes,
} from '../../../src/auth/htpasswd/htpasswd-text.ts';
import { parseHtpasswd } from '../../../src/auth/htpasswd/htpasswd.ts';

const limits = { maxBcryptCost: 12, maxShaCryptRounds: 100_000 };
const sha = '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=';
const bcrypt = '$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW';
const lines = (text: string) =>
  [...parseHtpasswd(text, limits).entries].map(([name, entry]) => [name, entry.line, entry.hash]);
const problemLines = (text: string) => parseHtpasswd(text, limits).problems.map(({ line }) => line);

describe('parseHtpasswd', () => {
  const accepted: readonly (readonly [title: string, text: string, expected: unknown[]])[] = [
    ['one user', `alice:${sha}\n`, [['alice', 1, sha]]],
    ['no line break at the end', `alice:${sha}`, [['alice', 1, sha]]],
    [
      'CRLF',
      `alice:${sha}\r\nbob:${bcrypt}\r\n`,
      [
        ['alice', 1, sha],
        ['bob', 2, bcrypt],
      ],
    ],
    ['comments and blank lines', `# all\n\n  \t\n  # x:y\nalice:${sha}\n`, [['alice', 5, sha]]],
    ['a byte order mark', `\uFEFFalice:${sha}\n`, [['alice', 1, sha]]],
    ['space around the line', `  alice:${sha} \t\n`, [['alice', 1, sha]]],
    ['space inside', `al ice :${sha}\n`, [['al ice ', 1, sha]]],
    ['a no-break space belongs to the name', `\u00a0alice:${sha}\n`, [['\u00a0alice', 1, sha]]],
    ['further fields', `alice:${sha}:Alice Liddell:x\n`, [['alice', 1, sha]]],
    ['several colons', `alice::${sha}\n`, [['alice', 1, sha]]],
    ['UTF-8', `zoë:${sha}\n`, [['zoë', 1, sha]]],
    [
      'names of the language',
      `__proto__:${sha}\nconstructor:${sha}\n`,
      [
        ['__proto__', 1, sha],
        ['constructor', 2, sha],
      ],
    ],
    [
      'a cost at the limit',
      `a:${bcrypt.replace('$05$', '$12$')}`,
      [['a', 1, bcrypt.replace('$05$', '$12$')]],
    ],
    [
      'lines that end in CR alone, or each in another way',
      `# x\ralice:${sha}\rbob:${bcrypt}\ncarol:${sha}\r\rdave:${sha}`,
      [
        ['alice', 2, sha],
        ['bob', 3, bcrypt],
        ['carol', 4, sha],
        ['dave', 6, sha],
      ],
    ],
    ['a byte order mark within', `# x\n\uFEFFalice:${sha}\n`, [['alice', 2, sha]]],
    ['empty', '', []],
  ];
  for (const [title, text, expected] of accepted) {
    it(title, () => {
      assert.deepEqual(lines(text), expected);
      assert.deepEqual(problemLines(text), []);
    });
  }

  it('the first line of a name counts, the others are problems', () => {
    const text = `alice:${sha}\nbob:${sha}\nalice:${bcrypt}\n`;
    assert.deepEqual(lines(text), [
      ['alice', 1, sha],
      ['bob', 2, sha],
    ]);
    assert.deepEqual(problemLines(text), [3]);
  });

  it('a first line that cannot be used keeps later ones of its name out', () => {
    const text = `alice:plain\nalice:${sha}\n`;
    assert.deepEqual(lines(text), []);
    assert.deepEqual(problemLines(text), [1, 2]);
  });

  const refused: readonly (readonly [title: string, hash: string])[] = [
    ['plain text', 'S3cretWord'],
    ['DES crypt', 'rqXexS6ZhobKA'],
    ['MD5 crypt', '$1$abcdefgh$irWbblnpmw.5z7wgBnprh0'],
    ['salted SHA', '{SSHA}VBPuJHI7uixaa6LQGWx4s+5GKNE='],
    ['a broken bcrypt', bcrypt.slice(0, -3)],
    ['a bcrypt cost over the limit', bcrypt.replace('$05$', '$13$')],
    ['rounds over the limit', `$5$rounds=100001$saltsalt$${'a'.repeat(43)}`],
    ['no hash', ''],
  ];
  for (const [title, hash] of refused) {
    it(`${title}: named by line, nothing of it repeated`, () => {
      const { entries, problems } = parseHtpasswd(`# first\nalice:${hash}\nbob:${sha}`, limits);
      assert.deepEqual([...entries.keys()], ['bob']);
      assert.equal(problems.length, 1);
      assert.equal(problems[0]?.line, 2);
      assert.ok(!problems[0].reason.includes('alice'));
      if (hash !== '') assert.ok(!problems[0].reason.includes(hash));
    });
  }

  it('lines without colon or name', () => {
    assert.deepEqual(problemLines(`justapassword\n:${sha}\n`), [1, 2]);
    assert.ok(!JSON.stringify(parseHtpasswd('justapassword', limits).problems).includes('justapassword'));
  });

  it('never throws, and every name is one of its line', () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.tuple(
        fc.string(),
        fc.constantFrom(':', '::', ''),
        fc.constantFrom(sha, bcrypt, '$2y$', '{SHA}', '$5$'),
      ),
    );
    fc.assert(
      fc.property(fc.array(line.map((part) => (typeof part === 'string' ? part : part.join('')))), (all) => {
        const text = all.join('\n');
        const { entries, problems } = parseHtpasswd(text, limits);
        const split = text.split(/\r\n|\n|\r/);
        for (const [name, entry] of entries) {
          assert.ok(split[entry.line - 1]?.includes(`${name}:`));
          assert.ok(entry.hash === sha || entry.hash === bcrypt);
        }
        for (const problem of problems) assert.ok(problem.line >= 1 && problem.line <= split.length);
      }),
    );
  });

  it('10,000 users', () => {
    const text = Array.from({ length: 10_000 }, (_, i) => `user${i}:${bcrypt}\n`).join('');
    const { entries } = parseHtpasswd(decodeHtpasswd(Buffer.from(text)), limits);
    assert.equal(entries.size, 10_000);
  });
});

describe('decodeHtpasswd', () => {
  it('takes comments in any encoding, and names the line of a name that is not UTF-8', () => {
    const bytes = Buffer.from(
      `# K\xe4se \0\nz\xebo:${sha}\nzo\xc3\xab:${sha}:K\xe4se\n\xef\xbb\xbf#\xff\n`,
      'latin1',
    );
    const text = decodeHtpasswd(bytes);
    assert.deepEqual(encodeHtpasswd(text), bytes);
    const { entries, problems } = parseHtpasswd(text, limits);
    assert.deepEqual([...entries.keys()], ['zoë']);
    assert.deepEqual(problems, [{ line: 2, reason: 'its name is not encoded in UTF-8' }]);
  });

  it('gives every byte back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        // Not the mark of UTF-16 at its start, which is refused.
        const found = Buffer.from([0x61, ...bytes.map((byte) => byte || 0x0a)]);
        assert.deepEqual(encodeHtpasswd(decodeHtpasswd(found)), found);
      }),
    );
    const all = Buffer.from('\u{10480}é\udc80 # \u{1f600}\n');
    assert.deepEqual(encodeHtpasswd(decodeHtpasswd(all)), all);
  });

  it('refuses what is no htpasswd text', () => {
    assert.throws(() => decodeHtpasswd(Buffer.from('#\na\0b')), /line 2 holds a NUL byte/);
    assert.throws(() => decodeHtpasswd(Buffer.from('\uFEFFalice:x', 'utf16le')), /text in UTF-16: save it/);
    assert.throws(() => decodeHtpasswd(Buffer.from('alice:x', 'utf16le')), /text in UTF-16/);
    assert.throws(() => decodeHtpasswd(Buffer.alloc(maxHtpasswdBytes + 1, 'a')), /larger/);
  });
});
