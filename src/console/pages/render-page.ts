import type { VNode } from 'preact';
import { renderToString } from 'preact-render-to-string';

/** A page's bytes: everything in it that is text is escaped. */
export function renderPage(page: VNode): Buffer {
  return Buffer.from(`<!doctype html>${renderToString(page)}`);
}
