import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createClientAddresses } from '../../../src/http/client-address.ts';
import { createNetworkIndex, isWithin, overlaps, parseNetwork } from '../../../src/http/network.ts';

const isIn = (network: string, address: string) =>
  createNetworkIndex([parseNetwork(network)])(address).length === 1;

/** The network as it has to be written, by the refusal of another form. */
function firstOf(text: string): string {
  try {
    return parseNetwork(text).text;
  } catch (error) {
    return / write (.*)$/.exec((error as Error).message)?.[1] ?? assert.fail(text);
  }
}

describe('a network', () => {
  for (const [text, canonical] of [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['192.0.2.7', '192.0.2.7/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8:0::/48', '2001:db8::/48'],
    ['fd00::1', 'fd00::1/128'],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:a00:0/104', '10.0.0.0/8'],
    ['::ffff:0:0/96', '0.0.0.0/0'],
    ['::/0', '::/0'],
  ] as const)
    it(`${text} is ${canonical}`, () => {
      assert.equal(parseNetwork(text).text, canonical);
    });

  for (const [text, fault] of [
    ['10.1.2.3/8', 'does not begin with the first address of its network: write 10.0.0.0/8'],
    ['2001:db8::1/32', 'does not begin with the first address of its network: write 2001:db8::/32'],
    ...[
      '',
      '10',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/08',
      '10.0.0.0/8/8',
      '010.0.0.0/8',
      ' 10.0.0.0/8',
    ].map((each) => [each, 'is neither an address'] as const),
    ...[
      '::/129',
      'fe80::1%eth0',
      'fe80::%eth0/64',
      '[::1]',
      'x',
      '10.0.0.0-10.0.0.9',
      '1:2:3:4:5:6:7/64',
    ].map((each) => [each, 'is neither an address'] as const),
  ] as const)
    it(`is not ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseNetwork(text),
        (error) => error instanceof RangeError && error.message.startsWith(fault),
      );
    });

  for (const [network, address, expected] of [
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['10.0.0.0/8', '0:0:0:0:0:ffff:0a01:0203', true],
    ['10.0.0.0/8', '::10.1.2.3', false],
    ['10.0.0.0/8', '64:ff9b::10.1.2.3', false],
    ['::/0', '10.1.2.3', false],
    ['::/0', '::ffff:10.1.2.3', false],
    ['::/64', '::ffff:10.1.2.3', false],
    ['::/0', '::1', true],
    ['0.0.0.0/0', '::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['fe80::/10', 'fe80::1%eth0%10.0.0.1', true],
    ['10.0.0.0/8', '10.0.0.1%eth0', true],
    ['10.0.0.0/8', '', false],
    ['10.0.0.0/8', '10.0.0.1, 10.0.0.2', false],
    ['10.0.0.0/8', '010.0.0.1', false],
    ['10.0.0.0/8', '10.1', false],
    ['10.0.0.0/8', '167837955', false],
  ] as const)
    it(`${network} ${expected ? 'has' : 'does not have'} ${JSON.stringify(address)}`, () => {
      assert.equal(isIn(network, address), expected);
    });

  const v4 = fc.record({
    family: fc.constant('ipv4' as const),
    address: fc.ipV4(),
    prefix: fc.integer({ min: 0, max: 32 }),
  });
  const v6 = fc.record({
    family: fc.constant('ipv6' as const),
    address: fc.ipV6().filter((address) => !/^[0:]*:ffff:/i.test(address)),
    prefix: fc.integer({ min: 0, max: 128 }),
  });
  const near = (address: string, bit: number) => (bit === 0 ? address : address.replace(/[^.:]$/, '1'));

  it('has the addresses that Node says', () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), fc.oneof(v4, v6), fc.nat(1), (drawn, other, bit) => {
        const list = new BlockList();
        list.addSubnet(drawn.address, drawn.prefix, drawn.family);
        const network = firstOf(`${drawn.address}/${drawn.prefix}`);
        for (const { address, family } of [drawn, other, { ...drawn, address: near(drawn.address, bit) }])
          if (family === drawn.family)
            assert.equal(isIn(network, address), list.check(address, family), `${network} ${address}`);
      }),
    );
  });

  for (const [one, trusted, expected] of [
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.1.0.0/16', '10.0.0.0/8', true],
    ['10.0.0.0/8', '10.9.9.9/8', true],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['10.0.0.0/8', '::/0', true],
    ['10.0.0.0/8', '0.0.0.0/0', true],
    ['::/0', '10.1.2.3', false],
    ['::/0', 'fd00::/8', true],
    ['10.0.0.0/8', '192.0.2.0/24', false],
    ['10.0.0.0/8', 'fd00::/8', false],
    ['fd00::/16', 'fd00::1', true],
    ['0.0.0.0/0', '10.1.2.3', true],
  ] as const)
    it(`${one} ${expected ? 'has' : 'does not have'} some of ${trusted}`, () => {
      assert.equal(overlaps(parseNetwork(one), trusted), expected);
    });

  it('has some of every trusted proxy that could be a client in it', () => {
    const text = fc.oneof(
      fc.tuple(fc.constantFrom('10.0.0.0', '10.1.0.0', '10.1.2.3', '192.0.2.7'), fc.nat(32)),
      fc.tuple(
        fc.constantFrom('::', '::1', '::ffff:10.1.2.3', '::ffff:0:0', 'fd00::', 'fd00::10.1.2.3'),
        fc.nat(128),
      ),
    );
    const addresses = ['10.0.0.0', '10.1.2.3', '10.1.2.4', '192.0.2.7', '::', '::1', 'fd00::1', '0.0.0.0'];
    fc.assert(
      fc.property(text, text, ([start, prefix], [proxies, bits]) => {
        const network = parseNetwork(firstOf(`${start}/${prefix}`));
        const trusted = createClientAddresses([`${proxies}/${bits}`]);
        for (const address of addresses)
          if (trusted.isTrusted(address) && isIn(network.text, address))
            assert.ok(overlaps(network, `${proxies}/${bits}`), `${address} is in both`);
      }),
      { numRuns: 3000 },
    );
  });

  it('is within a wider one', () => {
    const within = (one: string, wider: string) => isWithin(parseNetwork(one), parseNetwork(wider));
    assert.deepEqual(
      [
        within('10.1.0.0/16', '10.0.0.0/8'),
        within('10.0.0.0/8', '10.0.0.0/8'),
        within('10.0.0.0/8', '10.1.0.0/16'),
        within('10.0.0.0/8', '::/0'),
        within('fd00::/16', '::/0'),
      ],
      [true, true, false, false, true],
    );
  });
});
