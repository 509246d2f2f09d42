import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseBasicCredentials } from '../../../src/auth/basic-credentials.ts';

const encode = (text: string | Uint8Array) => Buffer.from(text).toString('base64');
const credentials = (name: string, password: string) => ({ kind: 'credentials', name, password });
const malformed = { kind: 'malformed' };
const nobody = { kind: 'nobody' };
const otherScheme = { kind: 'other-scheme' };

const table: readonly (readonly [title: string, value: string, expected: object])[] = [
  ['plain', `Basic ${encode('alice:secret')}`, credentials('alice', 'secret')],
  ['scheme in any case', `bAsIc ${encode('alice:secret')}`, credentials('alice', 'secret')],
  ['several spaces', `Basic   ${encode('alice:secret')}`, credentials('alice', 'secret')],
  ['padding missing', `Basic ${encode('ab:cd').replace(/=+$/, '')}`, credentials('ab', 'cd')],
  ['colons in the password', `Basic ${encode('alice:a:b::')}`, credentials('alice', 'a:b::')],
  ['empty password', `Basic ${encode('alice:')}`, credentials('alice', '')],
  ['empty name', `Basic ${encode(':x')}`, credentials('', 'x')],
  ['neither name nor password', 'Basic Og==', nobody],
  ['neither of them, without padding', 'basic   Og', nobody],
  ['no name, and a colon as password', `Basic ${encode('::')}`, credentials('', ':')],
  ['UTF-8', 'Basic dGVzdDoxMjPCow==', credentials('test', '123£')], // RFC 7617 section 2.1
  ['a BOM is part of the name', `Basic ${encode('\uFEFFa:b')}`, credentials('\uFEFFa', 'b')],
  ['1024 bytes of password', `Basic ${encode('a:' + 'x'.repeat(1024))}`, credentials('a', 'x'.repeat(1024))],
  ['1025 bytes of password', `Basic ${encode('a:' + 'x'.repeat(1025))}`, malformed],
  ['no colon', `Basic ${encode('alice')}`, malformed],
  ['nothing after the scheme', 'Basic', malformed],
  ['only a space after it', 'Basic ', malformed],
  ['a tab as separator', `Basic\t${encode('a:b')}`, otherScheme],
  ['base64url', 'Basic Pz8_Ojw-Pj8', malformed],
  ['a space in it', 'Basic YWxpY2U6 c2VjcmV0', malformed],
  ['something after it', `Basic ${encode('a:b')},x`, malformed],
  ['padding in the middle', 'Basic YTpi=YTpi', malformed],
  ['too much padding', 'Basic YTpi=', malformed],
  ['too little padding', 'Basic YTpiYw=', malformed],
  ['a length that base64 cannot have', 'Basic YTpiY', malformed],
  ['stray bits after the last byte', 'Basic YTpiYx==', malformed],
  ['not UTF-8', `Basic ${encode(Buffer.from([0x61, 0x3a, 0xff]))}`, malformed],
  ['overlong UTF-8', `Basic ${encode(Buffer.from([0x61, 0x3a, 0xc0, 0xaf]))}`, malformed],
  ['NUL in the password', `Basic ${encode('a:b\0c')}`, malformed],
  ['LF in the name', `Basic ${encode('a\nb:c')}`, malformed],
  ['DEL', `Basic ${encode('a:\u007f')}`, malformed],
  ['Bearer', 'Bearer abc', otherScheme],
  ['a scheme that only begins so', `Basics ${encode('a:b')}`, otherScheme],
  ['empty', '', otherScheme],
];

describe('parseBasicCredentials', () => {
  for (const [title, value, expected] of table) {
    it(title, () => assert.deepEqual(parseBasicCredentials(value), expected));
  }

  it('never throws, whatever the header holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String()), (text) => {
        parseBasicCredentials(text);
        parseBasicCredentials(`Basic ${text}`);
      }),
    );
  });

  it('gives back every name and password that RFC 7617 allows', () => {
    const text = fc
      .string({ unit: 'grapheme', maxLength: 40 })
      .filter((candidate) => !/[\p{Cc}\p{Cs}]/u.test(candidate));
    fc.assert(
      fc.property(
        text.filter((name) => !name.includes(':')),
        text,
        (name, password) => {
          const value = `Basic ${encode(`${name}:${password}`)}`;
          const expected = name === '' && password === '' ? nobody : credentials(name, password);
          assert.deepEqual(parseBasicCredentials(value), expected);
        },
      ),
    );
  });
});
