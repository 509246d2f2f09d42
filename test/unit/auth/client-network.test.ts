import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { clientNetwork } from '../../../src/http/client-network.ts';

for (const [address, network] of [
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:c000:201', '192.0.2.1'],
  ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:DB8:0:0:ffff::', '2001:db8:0:0::/64'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:0:1::', '2001:db8:0:1::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ['', ''],
] as const) {
  it(`${address || 'nothing'} is ${network || 'nothing'}`, () =>
    assert.equal(clientNetwork(address), network));
}

it('is the same for each text form of an IPv6 address, and for two addresses when their first 64 bits are', () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  const groups = fc.array(group, { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(groups, groups, groups, (left, right, other) => {
      fc.pre(left.some((value) => value !== 0));
      const write = (values: number[]) =>
        values.map((value) => value.toString(16).padStart(4, '0')).join(':');
      // What the platform itself makes of it: zeros left out, the longest run of them as "::".
      const short = new URL(`http://[${write([...left, ...right])}]`).hostname.slice(1, -1);
      const expected = `${left.map((value) => value.toString(16)).join(':')}::/64`;
      assert.equal(clientNetwork(write([...left, ...right])), expected);
      assert.equal(clientNetwork(short), expected);
      assert.equal(clientNetwork(write([...left, ...other]).toUpperCase()), expected);
    }),
  );
});
