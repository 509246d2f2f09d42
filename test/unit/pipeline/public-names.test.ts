import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isSameAddress, parseWebAddress } from '../../../src/http/web-address.ts';
import { findForeignPlace, rewriteLocation } from '../../../src/upstream/location.ts';
import { createPublicNames } from '../../../src/pipeline/public-names.ts';
import { hasReadableForwarded, nameByHost, nameByProxy } from '../../../src/http/public-name.ts';

const parse = (url: string) => {
  const [, scheme, authority] = /^(https?):\/\/(.*)$/.exec(url) ?? assert.fail(url);
  return parseWebAddress(scheme as 'http' | 'https', authority ?? '') ?? assert.fail(url);
};

describe('two texts of one address', () => {
  for (const [one, other, isSame] of [
    ['https://registry.test', 'https://REGISTRY.test.:443', true],
    ['https://registry.test', 'http://registry.test:80', true],
    ['https://registry.test', 'http://registry.test', true],
    ['https://registry.test:443', 'http://registry.test:443', true],
    ['https://registry.test:80', 'http://registry.test', true],
    ['https://registry.test:8443', 'http://registry.test:8443', true],
    ['https://registry.test', 'https://registry.test:8443', false],
    ['https://registry.test', 'https://registry.test.example', false],
    ['https://[::1]:8443', 'https://[0:0:0:0:0:0:0:1]:8443', true],
    ['https://127.0.0.1', 'https://127.1', true],
    ['https://1.2.3.4.5', 'https://1.2.3.4.5.', true],
  ] as const) {
    test(`${one} ${isSame ? 'is' : 'is not'} ${other}`, () => {
      assert.equal(isSameAddress(parse(one), parse(other)), isSame);
      assert.equal(isSameAddress(parse(other), parse(one)), isSame);
    });
  }

  test('a user in front, an empty host and two ports are none', () => {
    for (const text of ['u@registry.test', '', ':443', 'a:1:2', 'a:', '[::1', 'a b'])
      assert.equal(parseWebAddress('https', text), null, text);
  });
});

describe('what a trusted proxy says', () => {
  for (const [lines, scheme, authority] of [
    [[], 'https', '10.0.0.5:8443'],
    [['X-Forwarded-Host', 'registry.test'], 'https', 'registry.test'],
    [['X-Forwarded-Host', 'registry.test, inner.test'], 'https', 'registry.test'],
    [['X-Forwarded-Host', 'registry.test', 'x-forwarded-host', 'inner.test'], 'https', 'registry.test'],
    [['X-Forwarded-Host', 'reg/istry'], 'https', '10.0.0.5:8443'],
    [['X-Forwarded-Host', ', inner.test'], 'https', '10.0.0.5:8443'],
    [['X-Forwarded-Proto', 'https, http'], 'https', '10.0.0.5:8443'],
    [['X-Forwarded-Proto', 'http, https'], 'http', '10.0.0.5:8443'],
    [['X-Forwarded-Proto', 'javascript'], 'https', '10.0.0.5:8443'],
    [['X-Forwarded-Host', 'registry.test', 'X-Forwarded-Port', '443'], 'https', 'registry.test'],
    [['X-Forwarded-Host', 'registry.test', 'X-Forwarded-Port', '5443, 443'], 'https', 'registry.test:5443'],
    [['X-Forwarded-Host', 'registry.test:1', 'X-Forwarded-Port', '5443'], 'https', 'registry.test:1'],
    [['X-Forwarded-Port', '99999', 'X-Forwarded-Host', 'registry.test'], 'https', 'registry.test'],
    [['Forwarded', 'host=registry.test;proto=http'], 'http', 'registry.test'],
    [['Forwarded', 'host="registry.test:5443", host=b'], 'https', 'registry.test:5443'],
    [['Forwarded', 'for=192.0.2.1', 'X-Forwarded-Host', 'registry.test'], 'https', 'registry.test'],
    [['Forwarded', 'host=a.test', 'X-Forwarded-Host', 'b.test'], 'https', 'a.test'],
    [['Forwarded', 'host="a/b"', 'X-Forwarded-Host', 'b.test'], 'https', 'b.test'],
  ] as const) {
    test(lines.join(' '), () => {
      const name = nameByProxy(lines, '10.0.0.5:8443');
      assert.deepEqual([name.scheme, name.authority], [scheme, authority]);
    });
  }

  test('what cannot be read does not go on', () => {
    for (const [value, expected] of [
      ['for=192.0.2.1', true],
      ['host=a;proto=https', true],
      ['host=a;proto="https, https"', false],
      ['host="a/b"', false],
      ['host=a;host=b', false],
    ] as const)
      assert.equal(hasReadableForwarded(['Forwarded', value]), expected, value);
  });
});

describe('a Location', () => {
  const { locationNames } = createPublicNames({
    certificateNames: ['registry.test', '*.wild.test', '2001:db8::1'],
    listenPort: 8443,
    upstreamUrl: new URL('http://127.0.0.1:5000'),
  });
  const session = '/v2/app/blobs/uploads/1';
  const byHost = (host: string | null) => locationNames({ host, publicName: nameByHost(host) });
  const edit = (location: string) => `${location}!`;

  for (const [host, location, expected] of [
    ['registry.test', `http://registry.test:80${session}`, `https://registry.test${session}!`],
    ['registry.test', `HTTPS://Registry.Test.:443${session}`, `https://registry.test${session}!`],
    ['registry.test', `//registry.test${session}`, `https://registry.test${session}!`],
    ['registry.test', `https:///v2/app/blobs/uploads/1`, `https://registry.test${session}!`],
    ['other.test', `http://127.0.0.1:5000${session}`, `https://other.test${session}!`],
    ['[2001:db8::1]', `https://registry.test:9${session}`, `https://[2001:db8::1]${session}!`],
    ['registry.test:8443', `https://registry.test${session}`, `https://registry.test:8443${session}!`],
    ['a.wild.test', `https://b.wild.test:9${session}`, `https://a.wild.test${session}!`],
    // Not the client's, if it verifies certificates.
    ['10.0.0.5:8443', `https://registry.test:9${session}`, `https://registry.test:9${session}!`],
    ['10.0.0.5:8443', `http://registry.test:80${session}`, `https://registry.test${session}!`],
    [null, `https://registry.test${session}`, `https://registry.test${session}!`],
    [null, `http://127.0.0.1:5000${session}`, `${session}!`],
    [null, `https://${session}`, `${session}!`],
    ['registry.test', session, `${session}!`],
    ['registry.test', 'http, http://registry.test/', 'http, http://registry.test/!'],
  ] as const) {
    test(`to a client of ${host}, ${location} is ours`, () => {
      assert.equal(rewriteLocation(location, byHost(host), edit), expected);
      assert.equal(findForeignPlace(location, byHost(host)), null);
    });
  }

  for (const location of [
    'https://registry.test/bucket/x',
    `https://registry.test:9000/v2/app/blobs/sha256:0`,
    'https://b.wild.test/v2/app/blobs/sha256:0',
    `https://a.b.wild.test${session}`,
    `https://wild.test${session}`,
    `http://127.0.0.1:5001${session}`,
    `https://u@registry.test${session}`,
    `https://registry.test.evil.test${session}`,
  ]) {
    test(`${location} leads elsewhere`, () => {
      assert.equal(rewriteLocation(location, byHost('a.wild.test'), edit), location);
      assert.notEqual(findForeignPlace(location, byHost('a.wild.test')), null);
    });
  }
});
