import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { configKeys, groupPaths } from '../../src/config/schema/key-list.ts';
import { restartKeys, restartKeysWithRedis } from '../../src/config/schema/restart-keys.ts';
import { listPages, root } from '../support/documents.ts';

const pages = listPages();

/** The text of a page without its blocks of code. */
function readProse(page: string): string {
  return readFileSync(path.join(root, page), 'utf8').replaceAll(/^( *)```[^]*?^\1```$/gm, '');
}

/** The anchors that GitHub gives to the headings of a page. */
function listAnchors(page: string): Set<string> {
  const titles = [...readProse(page).matchAll(/^#{1,6} +(.+)$/gm)].map(([, title = '']) => title);
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
    ),
  );
}

describe('pages', () => {
  for (const page of pages) {
    it(`${page}: every link leads somewhere`, () => {
      for (const [, target = ''] of readProse(page).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        const [file = '', anchor] = target.split('#');
        const linked = file === '' ? page : path.posix.join(path.posix.dirname(page), file);
        assert.ok(existsSync(path.join(root, linked)), target);
        if (anchor !== undefined) assert.ok(listAnchors(linked).has(anchor), target);
      }
    });
  }

  it('speak of keys that there are', () => {
    const sections = [...groupPaths].filter((group) => !group.includes('.'));
    const key = new RegExp(`\`((?:${sections.join('|')})(?:\\.[A-Za-z]+)+)`, 'g');
    for (const page of pages) {
      // Its checks have names of the same form.
      if (page.endsWith('/doctor.md')) continue;
      for (const [, name = ''] of readProse(page).matchAll(key))
        if (!/\.[jt]s$/.test(name))
          assert.ok(configKeys.has(name) || groupPaths.has(name), `${page}: ${name}`);
    }
  });

  it('lifecycle.md lists the keys that need a restart', () => {
    const [, section = ''] =
      /### What needs a restart\n([^]*?)\n##/.exec(readProse('docs/operations/lifecycle.md')) ?? [];
    for (const name of [...restartKeys, ...restartKeysWithRedis])
      assert.ok(section.includes(groupPaths.has(name) ? `\`${name}.*\`` : `\`${name}\``), name);
  });
});
