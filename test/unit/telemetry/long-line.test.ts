import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shortenLine } from '../../../src/telemetry/log/long-line.ts';

const line = (record: object) => `${JSON.stringify(record)}\n`;

describe('shortenLine', () => {
  it('leaves a line alone that is short enough, to the byte', () => {
    const short = line({ msg: 'é'.repeat(1000) });
    assert.equal(shortenLine(short, Buffer.byteLength(short)), short);
  });

  it('cuts what is longest, nested or not, and keeps the rest', () => {
    const record = { level: 50, msg: 'failed', err: { type: 'Error', stack: 'x'.repeat(9000) }, status: 500 };
    const shorter = shortenLine(line(record), 4096);
    assert.ok(Buffer.byteLength(shorter) <= 4096 && shorter.endsWith('\n'));
    const { err, ...rest } = JSON.parse(shorter) as typeof record;
    assert.deepEqual(rest, { level: 50, msg: 'failed', status: 500 });
    assert.match(err.stack, /^x{1000,}…$/);
  });

  it('holds its bound whatever is in the line, and gives valid JSON', () => {
    for (const text of [
      'é'.repeat(5000),
      '\u0001'.repeat(5000),
      '😀'.repeat(5000),
      `a${'😀'.repeat(5000)}`,
    ]) {
      const shorter = shortenLine(line({ a: text, b: { c: [text, text] } }), 4096);
      assert.ok(Buffer.byteLength(shorter) <= 4096);
      JSON.parse(shorter);
    }
    const many = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`key${i}`, i]));
    assert.ok(Buffer.byteLength(shortenLine(line(many), 4096)) <= 4096);
  });
});
