import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createMachineToken,
  hashMachineToken,
  isMachineToken,
} from '../../../src/auth/machine-tokens/machine-token.ts';

/** Of 256 bits that are all 0: a scanner for secrets can compute its checksum. */
const zero = 'tidegate_00000000000000000000000000000000000000000002CZclj';

test('a token is a prefix, 256 bits and their CRC-32 to base 62', () => {
  const tokens = Array.from({ length: 200 }, createMachineToken);
  for (const token of tokens) {
    assert.match(token, /^tidegate_[0-9A-Za-z]{49}$/);
    assert.ok(isMachineToken(token));
  }
  assert.equal(new Set(tokens).size, tokens.length);
});

test('a token with one character changed, one less or one more is none', () => {
  const token = createMachineToken();
  for (let at = 0; at < token.length; at += 1)
    for (const other of ['0', 'a', '-', '']) {
      const changed = token.slice(0, at) + other + token.slice(at + 1);
      assert.equal(isMachineToken(changed), changed === token, `${at} ${other}`);
    }
  for (const text of ['', 'tidegate_', `${token}0`, ` ${token}`, `${token}\n`, token.toUpperCase()])
    assert.equal(isMachineToken(text), false);
});

test('form, checksum and hash stay as they are: tokens outlive versions', () => {
  assert.ok(isMachineToken(zero));
  assert.equal(hashMachineToken(zero), 'c5e19619a08703536dea1f631687a960f645b84c9c1a273ace6a4f1a86167dd2');
});
