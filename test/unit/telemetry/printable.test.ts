import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable } from '../../../src/telemetry/log/printable.ts';

for (const [text, expected] of [
  ['docker/28.2 (linux; "x86")\\', 'docker/28.2 (linux; "x86")\\'],
  ['caf\xe9 ÿ 漢字', 'caf\xe9 ÿ 漢字'],
  ['a\nb\r\tc', 'a\\u{a}b\\u{d}\\u{9}c'],
  ['\x1b[31m \x9b31m \x85', '\\u{1b}[31m \\u{9b}31m \\u{85}'],
  ['a\u2028b\u2029c', 'a\\u{2028}b\\u{2029}c'],
  ['\u202egnp\u2066', '\\u{202e}gnp\\u{2066}'],
] as const) {
  test(`${JSON.stringify(text)} is shown as ${expected}`, () => assert.equal(printable(text), expected));
}
