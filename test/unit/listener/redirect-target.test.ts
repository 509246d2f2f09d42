import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findRedirect } from '../../../src/listener/redirect-target.ts';

const names = ['registry.example.com', '*.wild.example.com', '192.0.2.7', '2001:db8::1'];

for (const [what, host, port, target, expected] of [
  ['the name', 'registry.example.com', 443, '/v2/', 'https://registry.example.com/v2/'],
  ['a port that is none of https', 'registry.example.com:80', 443, '/', 'https://registry.example.com/'],
  ['capitals and a last dot', 'REGISTRY.Example.com.', 443, '/', 'https://registry.example.com/'],
  [
    'another port of https',
    'registry.example.com',
    8443,
    '/a?b=c',
    'https://registry.example.com:8443/a?b=c',
  ],
  ['a name under a wildcard', 'a.wild.example.com', 443, '/', 'https://a.wild.example.com/'],
  ['two labels under a wildcard', 'a.b.wild.example.com', 443, '/', 'https://registry.example.com/'],
  ['an IPv4 address', '192.0.2.7', 443, '/', 'https://192.0.2.7/'],
  ['an IPv6 address', '[2001:DB8::1]:80', 8443, '/', 'https://[2001:db8::1]:8443/'],
  ["somebody else's name", 'evil.example.net', 443, '/', 'https://registry.example.com/'],
  ['no Host', undefined, 443, '/', 'https://registry.example.com/'],
  ['a Host that is none', 'a b@c/', 443, '/', 'https://registry.example.com/'],
  [
    'a target that looks like a host',
    'registry.example.com',
    443,
    '//evil.net',
    'https://registry.example.com//evil.net',
  ],
  ['an absolute target', 'registry.example.com', 443, 'http://evil.net/', null],
  ['an asterisk', 'registry.example.com', 443, '*', null],
  ['bytes that could end a header', 'registry.example.com', 443, '/a\r\nb', null],
] as const)
  test(`findRedirect: ${what}`, () => {
    assert.equal(findRedirect(host, target, { names, port }), expected);
  });

test('findRedirect: nowhere without a name', () => {
  assert.equal(findRedirect('a.wild.example.com', '/', { names: [], port: 443 }), null);
});
