import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseProxyHeader } from '../../../src/listener/proxy-header.ts';

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

/** A header of version 2, written as the specification's tables have it. */
const binary = (command: number, family: number, payload: Uint8Array, length = payload.length): Buffer =>
  Buffer.from([...signature, command, family, length >> 8, length & 255, ...payload]);
const tcp4 = Uint8Array.from([192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb]);
const tcp6 = Uint8Array.from([
  ...[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a],
  ...[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b],
  ...[0x12, 0x34, 0x01, 0xbb],
]);
const tlv = [0x20, 0x00, 0x03, 1, 2, 3];
const source6 = '2001:0db8:0000:0000:0000:0000:0000:000a';

describe('version 1', () => {
  for (const [line, source] of [
    ['PROXY TCP4 192.0.2.1 198.51.100.2 4660 443', '192.0.2.1'],
    ['PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535', '255.255.255.255'],
    ['PROXY TCP4 0.0.0.0 0.0.0.0 0 0', '0.0.0.0'],
    ['PROXY TCP6 2001:db8::a 2001:db8::b 4660 443', '2001:db8::a'],
    ['PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2', '::ffff:192.0.2.1'],
    [`PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535`, `${'ffff:'.repeat(7)}ffff`],
    ['PROXY UNKNOWN', null],
    ['PROXY UNKNOWN anything at all', null],
    [`PROXY UNKNOWN ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535`, null],
  ] as const) {
    it(`"${line}" is of ${String(source)}`, () => {
      const bytes = Buffer.from(`${line}\r\n`);
      assert.deepEqual(parseProxyHeader(bytes), { lengthBytes: bytes.length, source });
      const more = Buffer.concat([bytes, Buffer.from([0x16, 3, 1, 0x0d, 0x0a])]);
      assert.deepEqual(parseProxyHeader(more), { lengthBytes: bytes.length, source });
    });
  }

  for (const line of [
    'PROXY',
    'PROXY ',
    'PROXY  TCP4 192.0.2.1 198.51.100.2 1 2',
    'proxy TCP4 192.0.2.1 198.51.100.2 1 2',
    'PROXY TCP4',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1 2 ',
    'PROXY TCP4  192.0.2.1 198.51.100.2 1 2',
    'PROXY TCP4 192.0.2.01 198.51.100.2 1 2',
    'PROXY TCP4 192.0.2.256 198.51.100.2 1 2',
    'PROXY TCP4 192.0.2 198.51.100.2 1 2',
    'PROXY TCP4 192.0.2.1 nowhere 1 2',
    'PROXY TCP4 2001:db8::a 2001:db8::b 1 2',
    'PROXY TCP4 192.0.2.1 198.51.100.2 65536 2',
    'PROXY TCP4 192.0.2.1 198.51.100.2 01 2',
    'PROXY TCP4 192.0.2.1 198.51.100.2 -1 2',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1 x',
    'PROXY TCP6 192.0.2.1 198.51.100.2 1 2',
    'PROXY TCP6 fe80::1%eth0 fe80::2 1 2',
    'PROXY TCP6 2001:db8::a::1 2001:db8::b 1 2',
    'PROXY UDP4 192.0.2.1 198.51.100.2 1 2',
    'PROXY unknown',
    'PROXY TCP4\t192.0.2.1 198.51.100.2 1 2',
    'GET / HTTP/1.1',
    `PROXY UNKNOWN ${'x'.repeat(92)}`,
  ]) {
    it(`"${line}" is none`, () => assert.equal(parseProxyHeader(Buffer.from(`${line}\r\n`)), 'invalid'));
  }

  it('ends with CR LF, within 107 bytes', () => {
    const longest = `PROXY UNKNOWN ${'x'.repeat(91)}`;
    assert.equal(longest.length, 105);
    assert.deepEqual(parseProxyHeader(Buffer.from(`${longest}\r\n`)), { lengthBytes: 107, source: null });
    assert.equal(parseProxyHeader(Buffer.from(`${longest}\n`)), 'incomplete');
    assert.equal(parseProxyHeader(Buffer.from(`${longest}\n\n`)), 'invalid');
    assert.equal(parseProxyHeader(Buffer.from(`${longest}x\r\n`)), 'invalid');
  });
});

describe('version 2', () => {
  for (const [what, bytes, source] of [
    ['TCP over IPv4', binary(0x21, 0x11, tcp4), '192.0.2.1'],
    ['TCP over IPv6', binary(0x21, 0x21, tcp6), source6],
    ['with additions', binary(0x21, 0x11, Uint8Array.from([...tcp4, ...tlv, ...tlv])), '192.0.2.1'],
    ['the longest', binary(0x21, 0x21, Uint8Array.from([...tcp6, ...Array<number>(4060).fill(7)])), source6],
    ['unspecified', binary(0x21, 0x00, Uint8Array.from([])), null],
    ['unspecified, with additions', binary(0x21, 0x00, Uint8Array.from(tlv)), null],
    ['the proxy’s own', binary(0x20, 0x00, Uint8Array.from([])), null],
    ['the proxy’s own, with addresses to ignore', binary(0x20, 0x11, tcp4), null],
    ['the proxy’s own, of a family that is not known', binary(0x20, 0x7f, Uint8Array.from([1])), null],
  ] as const) {
    it(what, () => {
      assert.deepEqual(parseProxyHeader(bytes), { lengthBytes: bytes.length, source });
      const more = Buffer.concat([bytes, Buffer.from([0x16, 3, 1])]);
      assert.deepEqual(parseProxyHeader(more), { lengthBytes: bytes.length, source });
    });
  }

  for (const [what, bytes] of [
    ['another version', binary(0x11, 0x11, tcp4)],
    ['another command', binary(0x22, 0x11, tcp4)],
    ['UDP', binary(0x21, 0x12, tcp4)],
    ['a UNIX socket', binary(0x21, 0x31, Uint8Array.from(Array<number>(216).fill(0)))],
    ['a family that is not known', binary(0x21, 0x41, tcp4)],
    ['too short for IPv4', binary(0x21, 0x11, tcp4.subarray(0, 11))],
    ['too short for IPv6', binary(0x21, 0x21, tcp6.subarray(0, 35))],
    ['longer than any', binary(0x21, 0x11, tcp4, 4097)],
    ['as long as can be written', binary(0x21, 0x11, tcp4, 65535)],
    ['a broken signature', Buffer.from([...signature.slice(0, 11), 0x0b, 0x21, 0x11, 0, 12, ...tcp4])],
  ] as const) {
    it(`none: ${what}`, () => assert.equal(parseProxyHeader(bytes), 'invalid'));
  }
});

describe('any bytes', () => {
  const address4 = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 })));
  const port = fc.integer({ min: 0, max: 65535 });
  const line = fc
    .record({ source: address4, destination: address4, from: port, to: port })
    .map(({ source, destination, from, to }) => ({
      bytes: Buffer.from(`PROXY TCP4 ${source.join('.')} ${destination.join('.')} ${from} ${to}\r\n`),
      source: source.join('.'),
    }));
  const packet = fc
    .record({ source: address4, destination: address4, additions: fc.uint8Array({ maxLength: 200 }) })
    .map(({ source, destination, additions }) => ({
      bytes: binary(0x21, 0x11, Uint8Array.from([...source, ...destination, 0, 1, 0, 2, ...additions])),
      source: source.join('.'),
    }));

  it('are read as written, whatever follows, and are incomplete until the last byte is there', () => {
    fc.assert(
      fc.property(fc.oneof(line, packet), fc.uint8Array({ maxLength: 64 }), ({ bytes, source }, rest) => {
        const whole = Buffer.concat([bytes, rest]);
        assert.deepEqual(parseProxyHeader(whole), { lengthBytes: bytes.length, source });
        for (let length = 0; length < bytes.length; length++) {
          assert.equal(parseProxyHeader(bytes.subarray(0, length)), 'incomplete');
        }
      }),
    );
  });

  it('are judged as an independent reading of the specification judges them', () => {
    const beginning = fc.constantFrom(
      Buffer.alloc(0),
      Buffer.from('PROXY TCP4 192.0.2.1 '),
      Buffer.from('PROXY UNKNOWN'),
      Buffer.from(signature),
      Buffer.from([...signature, 0x21, 0x11, 0, 12]),
      Buffer.from([...signature, 0x21, 0x21, 0, 36]),
      Buffer.from([...signature, 0x20, 0x00, 0, 0]),
    );
    const digits = fc.string({
      unit: fc.constantFrom(...Array.from('0123456789. \r\n:aTCPUN4')),
      maxLength: 60,
    });
    const rest = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      digits.map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(beginning, rest, (first, second) => {
        const bytes = Buffer.concat([first, second]);
        assert.deepEqual(parseProxyHeader(bytes), model(bytes), bytes.toString('hex'));
      }),
      { numRuns: 3000 },
    );
  });

  it('of one kind or the other are decided on within the bounds of both', () => {
    const filler = Buffer.alloc(5000, 'x');
    for (const first of [Buffer.from('PROXY UNKNOWN'), binary(0x21, 0x11, Uint8Array.from([]), 4096)]) {
      assert.notEqual(parseProxyHeader(Buffer.concat([first, filler])), 'incomplete');
    }
  });
});

/** The specification once more, by regular expressions over Latin-1 text, for headers of no more than IPv4 and UNKNOWN. */
function model(bytes: Buffer): ReturnType<typeof parseProxyHeader> {
  const text = bytes.toString('latin1');
  const magic = Buffer.from(signature).toString('latin1');
  if (magic.startsWith(text)) return 'incomplete';
  if (text.startsWith(magic)) {
    const [command, family, high, low] = bytes.subarray(12);
    if (command !== undefined && command !== 0x20 && command !== 0x21) return 'invalid';
    if (high === undefined || low === undefined) return 'incomplete';
    const total = 16 + 256 * high + low;
    const needed = command === 0x20 || family === 0 ? 0 : family === 0x11 ? 12 : family === 0x21 ? 36 : NaN;
    if (total > 4112 || !(total >= 16 + needed)) return 'invalid';
    if (bytes.length < total) return 'incomplete';
    if (needed === 0) return { lengthBytes: total, source: null };
    const octets = [...bytes.subarray(16)];
    if (needed === 12) return { lengthBytes: total, source: octets.slice(0, 4).join('.') };
    const pairs = Array.from({ length: 8 }, (_, i) => 256 * (octets[2 * i] ?? 0) + (octets[2 * i + 1] ?? 0));
    return { lengthBytes: total, source: pairs.map((pair) => pair.toString(16).padStart(4, '0')).join(':') };
  }
  if ('PROXY '.startsWith(text)) return 'incomplete';
  if (!text.startsWith('PROXY ')) return 'invalid';
  const [line = ''] = text.split('\r\n', 1);
  if (line.length + 2 > Math.min(text.length, 107)) return text.length < 107 ? 'incomplete' : 'invalid';
  const lengthBytes = line.length + 2;
  if (/^PROXY UNKNOWN( |$)/.test(line)) return { lengthBytes, source: null };
  const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
  const number = '(?:6553[0-5]|655[0-2]\\d|65[0-4]\\d{2}|6[0-4]\\d{3}|[1-5]\\d{4}|[1-9]\\d{0,3}|0)';
  const dotted = `${octet}(?:\\.${octet}){3}`;
  const found = new RegExp(`^PROXY TCP4 (${dotted}) ${dotted} ${number} ${number}$`).exec(line);
  return found ? { lengthBytes, source: found[1] ?? '' } : 'invalid';
}
