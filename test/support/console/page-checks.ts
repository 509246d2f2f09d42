import assert from 'node:assert/strict';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import type { BrowserWindow } from '../chromium.ts';

/** What a page may have, in bytes; raw manifests apart. */
const maxPageBytes = 30 * 1024;
const widths = [360, 1440] as const;

/** Checks a page as it stands: accessible and not too wide on narrow and wide screens, light and dark. */
export async function checkPage(page: Page, at: readonly number[] = widths): Promise<void> {
  const before = page.viewportSize();
  const where = new URL(page.url()).pathname;
  for (const width of at) {
    await page.setViewportSize({ width, height: 900 });
    await checkWidth(page, `${where} at ${width}`);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      // In the dark nothing differs but colours.
      const rules = colorScheme === 'light' ? [] : ['color-contrast'];
      assert.deepEqual(await findFaults(page, rules), [], `${where} at ${width}, ${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  if (before !== null) await page.setViewportSize(before);
}

/** Nothing reaches beyond the screen, but for what scrolls by itself. */
export async function checkWidth(page: Page, where: string): Promise<void> {
  const [content = 0, screen = 0] = await page.evaluate<number[]>(
    '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
  );
  assert.ok(content <= screen, `${where}: ${content} px on a screen of ${screen}; ${await widest(page)}`);
}

/** The element that reaches farthest. */
const widest = (page: Page): Promise<string> =>
  page.evaluate<string>(`[...document.querySelectorAll('body *')]
    .map((element) => [element.getBoundingClientRect().right, element.outerHTML.slice(0, 200)])
    .sort(([one], [other]) => other - one)[0].join(' ')`);

/** What axe finds, each in a line. @param rules empty: all */
export async function findFaults(page: Page, rules: readonly string[] = []): Promise<string[]> {
  if (!(await page.evaluate<boolean>(`'axe' in window`))) await page.evaluate(axe.source);
  const options = { resultTypes: ['violations'], ...(rules.length > 0 && { runOnly: rules }) };
  return page.evaluate<string[]>(`axe.run(document, ${JSON.stringify(options)}).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.slice(0, 5).map(({ html, failureSummary }) => id + ': ' + html + ' ' + failureSummary)))`);
}

/** Nothing ran that must not, and every page was small enough. */
export function checkWindow({ faults, sizes }: Pick<BrowserWindow, 'faults' | 'sizes'>): void {
  assert.deepEqual(faults, []);
  const large = [...sizes].filter(([url, bytes]) => bytes > maxPageBytes && !url.includes('/-/raw/'));
  assert.deepEqual(large, []);
}
