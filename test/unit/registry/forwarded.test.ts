import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseForwarded } from '../../../src/http/forwarded.ts';

describe('the first element of Forwarded', () => {
  for (const [value, host, proto] of [
    ['host=registry.example.com;proto=https', 'registry.example.com', 'https'],
    ['for=192.0.2.1', null, null],
    ['FOR="[2001:db8::1]:4711"; Host="a:8443" ;\tPROTO=HTTPS', 'a:8443', 'HTTPS'],
    ['host=a:8443', 'a:8443', null],
    ['host="a\\"b"', 'a"b', null],
    ['host="a,b";proto=http, host=c', 'a,b', 'http'],
    ['proto=https, host=c;proto=http', null, 'https'],
    ['', null, null],
    [';;proto=https', null, 'https'],
    [', host=c', null, null],
    ['ghost=a;xhost=b', null, null],
  ] as const) {
    test(JSON.stringify(value), () => assert.deepEqual(parseForwarded(value), { host, proto }));
  }

  for (const value of [
    'host',
    'host=',
    'host="a',
    'host=a b',
    'host=a;host=b',
    'host=a;HOST=a',
    '=a',
    'ho st=a',
  ]) {
    test(`${JSON.stringify(value)} cannot be read`, () => assert.equal(parseForwarded(value), null));
  }
});
