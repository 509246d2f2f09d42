import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderPage } from '../../../src/console/pages/render-page.ts';

describe('pages of the console', () => {
  it('escape text in elements and attributes', () => {
    const hostile = `"><script>alert('1')</script><!--`;
    const page = renderPage(
      <html lang="en">
        <title>{hostile}</title>
        <p title={hostile}>{hostile}</p>
      </html>,
    ).toString();
    assert.match(page, /^<!doctype html><html lang="en">/);
    assert.doesNotMatch(page, /<script|<!--/);
    assert.equal(
      renderPage(<a href={hostile}>{hostile}</a>)
        .toString()
        .split('<').length,
      4,
    );
  });
});
