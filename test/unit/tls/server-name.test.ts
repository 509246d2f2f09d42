import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OperatorError } from '../../../src/system/operator-error.ts';
import { parseAltNames, parseServerIp, parseServerName } from '../../../src/tls/server-name.ts';

describe('parseServerName', () => {
  const accepted: [string, 'dns' | 'ip', string][] = [
    ['registry.example.com', 'dns', 'registry.example.com'],
    ['REGISTRY.Example.com', 'dns', 'registry.example.com'],
    ['localhost', 'dns', 'localhost'],
    ['*.example.com', 'dns', '*.example.com'],
    ['build_box', 'dns', 'build_box'],
    ['xn--bcher-kva.example', 'dns', 'xn--bcher-kva.example'],
    [`${'a'.repeat(63)}.example`, 'dns', `${'a'.repeat(63)}.example`],
    ['192.0.2.10', 'ip', '192.0.2.10'],
    ['2001:DB8:0:0::10', 'ip', '2001:db8::10'],
    ['::1', 'ip', '::1'],
    ['::ffff:192.0.2.1', 'ip', '::ffff:c000:201'],
  ];
  for (const [text, kind, value] of accepted) {
    it(`accepts ${text}`, () => assert.deepEqual(parseServerName(text), { kind, value }));
  }

  const refused: [string, RegExp][] = [
    ['', /not a host name/],
    ['https://registry.example.com', /bare, without https/],
    ['registry.example.com:5000', /bare/],
    ['[::1]', /brackets/],
    ['registry.example.com.', /not a host name/],
    ['a..b', /not a host name/],
    ['-a.example', /not a host name/],
    ['a b', /not a host name/],
    ['a\nb', /"a\nb"/],
    ['300.1.1.1', /not a host name/],
    [`${'a'.repeat(64)}.example`, /not a host name/],
    [`${'a.'.repeat(127)}com`, /not a host name/],
    ['*', /too wide/],
    ['*.com', /too wide/],
    ['a.*.example.com', /not a host name/],
    ['fe80::1%eth0', /not an IP address/],
    ['bücher.example', /xn--bcher-kva\.example/],
  ];
  for (const [text, reason] of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.throws(
        () => parseServerName(text),
        (error) => error instanceof OperatorError && reason.test(error.message),
      );
    });
  }
});

describe('parseServerIp', () => {
  it('refuses a host name', () => assert.throws(() => parseServerIp('localhost'), OperatorError));
});

describe('parseAltNames', () => {
  it('reads DNS and IP names and leaves others out', () => {
    assert.deepEqual(
      parseAltNames(
        'DNS:A.example, IP Address:192.0.2.1, email:x@example.com, IP Address:2001:DB8:0:0:0:0:0:1',
      ),
      [
        { kind: 'dns', value: 'a.example' },
        { kind: 'ip', value: '192.0.2.1' },
        { kind: 'ip', value: '2001:db8::1' },
      ],
    );
  });
  it('takes no name out of the inside of another', () => {
    assert.deepEqual(parseAltNames('URI:"http://x/, DNS:evil.example", DNS:good.example'), [
      { kind: 'dns', value: 'good.example' },
    ]);
  });
  it('finds none where there are none', () => assert.deepEqual(parseAltNames(undefined), []));
});
