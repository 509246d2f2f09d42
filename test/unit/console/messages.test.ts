import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Messages } from '../../../src/console/messages/en.ts';
import { catalogues, formats, locales } from '../../../src/console/messages/locale.ts';
import { renderPage } from '../../../src/console/pages/render-page.ts';
import { sampleChrome } from '../../support/console/sample-chrome.ts';
import { samplePages } from '../../support/console/sample-pages.tsx';

describe('messages of the console', () => {
  it('are all in use', () => {
    const used = new Set<string>();
    const messages = watch(catalogues.en, '', used) as Messages;
    for (const page of Object.values(samplePages(sampleChrome('en', 'alice', messages)))) renderPage(page);
    const unused = [...leaves(catalogues.en)].map(([key]) => key).filter((key) => !used.has(key));
    assert.deepEqual(unused, []);
  });

  it('have the same places in each language', () => {
    const english = new Map(leaves(catalogues.en));
    for (const locale of locales)
      for (const [key, text] of leaves(catalogues[locale]))
        assert.deepEqual(placesOf(text), placesOf(english.get(key) ?? ''), `${locale} ${key}`);
  });
});

describe('formats of the console', () => {
  it('write sizes with three digits and decimal units', () => {
    const cases = [
      [0, '0 bytes'],
      [1, '1 byte'],
      [999, '999 bytes'],
      [1000, '1 kB'],
      [999_999, '1 MB'],
      [1_234_567_890, '1.23 GB'],
    ] as const;
    for (const [value, shown] of cases) assert.equal(formats.en.bytes(value), shown);
    assert.equal(formats['zh-CN'].bytes(1_500_000), '1.5 MB');
  });

  it('write times as people say them within a week, and as days then', () => {
    const nowMs = Date.UTC(2026, 10, 29, 12);
    const minute = 60_000;
    const cases = [
      [10_000, 'now', '现在'],
      [minute, '1 minute ago', '1分钟前'],
      [61 * minute, '1 hour ago', '1小时前'],
      [25 * 60 * minute, 'yesterday', '昨天'],
      [8 * 1440 * minute, '21 Nov 2026', '2026年11月21日'],
      [-3 * 1440 * minute, 'in 3 days', '3天后'],
    ] as const;
    for (const [agoMs, english, chinese] of cases) {
      assert.equal(formats.en.relative(nowMs - agoMs, nowMs), english);
      assert.equal(formats['zh-CN'].relative(nowMs - agoMs, nowMs), chinese);
    }
    assert.equal(formats.en.dateTime(nowMs), '29 Nov 2026, 12:00 UTC');
  });
});

/** Notes which messages are read. */
function watch(group: object, path: string, used: Set<string>): object {
  return new Proxy(group, {
    get(target, name: string) {
      const value = (target as Record<string, unknown>)[name];
      const key = `${path}${name}`;
      if (typeof value === 'object' && value !== null) return watch(value, `${key}.`, used);
      used.add(key);
      return value;
    },
  });
}

/** Each message with its key; of a function what it gives for sample numbers. */
function* leaves(group: object, path = ''): Generator<[key: string, text: string]> {
  for (const [name, value] of Object.entries(group) as [string, unknown][]) {
    const key = `${path}${name}`;
    if (typeof value === 'string') yield [key, value];
    else if (typeof value === 'function') yield [key, (value as (...all: unknown[]) => string)(2, '2')];
    else yield* leaves(value as object, `${key}.`);
  }
}

function placesOf(text: string): string[] {
  return [...text.matchAll(/\{\d\}/g)].map(([place]) => place).sort();
}
