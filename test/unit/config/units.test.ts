import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  durationPattern,
  parseDuration,
  parseSize,
  sizePattern,
} from '../../../src/config/schema/types/units.ts';

describe('parseDuration', () => {
  for (const [text, ms] of [
    ['0', 0],
    ['0s', 0],
    ['500ms', 500],
    ['5s', 5000],
    ['010s', 10_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['2d', 172_800_000],
  ] as const) {
    it(`reads ${text} as ${ms} ms`, () => {
      assert.equal(parseDuration(text), ms);
      assert.match(text, new RegExp(durationPattern));
    });
  }
  for (const [text, message] of [
    ['5', /5 has no unit: add one of ms, s, m, h, d/],
    ['5S', /unit S is unknown: use one of ms, s, m, h, d/],
    ['5constructor', /unit constructor is unknown/],
    ['1.5s', /not a duration/],
    ['-1s', /not a duration/],
    ['5 s', /not a duration/],
    ['1h30m', /not a duration/],
    ['', /not a duration/],
    ['s', /not a duration/],
    ['99999999999999999d', /too large/],
  ] as const) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseDuration(text), { name: 'RangeError', message });
    });
  }
});

describe('parseSize', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['7B', 7],
    ['32KiB', 32_768],
    ['4MiB', 4_194_304],
    ['1GiB', 1_073_741_824],
  ] as const) {
    it(`reads ${text} as ${bytes} bytes`, () => {
      assert.equal(parseSize(text), bytes);
      assert.match(text, new RegExp(sizePattern));
    });
  }
  for (const text of ['5', '5KB', '5MB', '5kib', '5K', '1e3B', 'KiB', '٣B', '9007199254740993B']) {
    it(`refuses ${text}`, () => {
      assert.throws(() => parseSize(text), RangeError);
    });
  }
});
