import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OciError } from '../../../src/registry/error.ts';
import { createPageCursors } from '../../../src/pipeline/authorize/catalog/page-cursors.ts';

const isRefused = (error: unknown) => error instanceof OciError && error.code === 'BAD_REQUEST';
const older = Buffer.alloc(32, 1);
const newer = 'a new secret of more than thirty-two bytes';
const cursors = createPageCursors([older]);
const places = [
  { query: 'last=team%2Fapp&n=1000', after: null },
  { query: 'token=a&b==', after: 'team/app' },
  { query: `last=${'x'.repeat(500)}`, after: 'x'.repeat(255) },
];

test('a place comes back as it was, and nothing of it can be read or changed', () => {
  for (const place of places) {
    const sealed = cursors.seal(place);
    assert.match(sealed, /^~[\w-]+$/);
    assert.deepEqual(cursors.open(sealed), place);
    assert.notEqual(cursors.seal(place), sealed);
    assert.ok(!Buffer.from(sealed.slice(1), 'base64url').includes(place.query.slice(0, 5)));
    for (const at of [1, 20, 100, sealed.length - 10]) {
      const other = sealed[at] === 'A' ? 'B' : 'A';
      assert.throws(() => cursors.open(sealed.slice(0, at) + other + sealed.slice(at + 1)), isRefused);
    }
    assert.throws(() => cursors.open(sealed.slice(0, -22)), isRefused);
  }
});

test('what is no sealed place is a name', () => {
  for (const text of ['', 'team/app', 'team~app', ' ~']) assert.equal(cursors.open(text), null);
});

test('a secret is exchanged by putting the new one first, and the old one is good until it is removed', () => {
  const [place] = places;
  assert.ok(place);
  const both = createPageCursors([newer, older]);
  assert.deepEqual(both.open(cursors.seal(place)), place);
  const sealed = both.seal(place);
  assert.deepEqual(createPageCursors([newer]).open(sealed), place);
  assert.throws(() => cursors.open(sealed), isRefused);
});
