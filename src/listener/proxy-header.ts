import { isIPv4, isIPv6 } from 'node:net';

/** A header of the PROXY protocol (HAProxy's specification, "The PROXY protocol, versions 1 & 2"). */
export type ProxyHeader = {
  /** Its length in bytes; what follows is the client's. */
  readonly lengthBytes: number;
  /** The client's address; null: the connection is the proxy's own (LOCAL), or its client is unknown (UNKNOWN). */
  readonly source: string | null;
};

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const fixedBytes = 16;
/** Section 2.1: the longest possible line, including its end. */
const maxLineBytes = 107;
/**
 * Addresses take 36 bytes; the rest is for extensions (TLVs), of which a client certificate's name is the longest in
 * use.
 */
const maxBinaryBytes = fixedBytes + 4096;

/** Section 2.2, command in the low bits of byte 13, after the version. */
const commands: ReadonlyMap<number, 'local' | 'proxy'> = new Map([
  [0x20, 'local'],
  [0x21, 'proxy'],
]);
/** Section 2.2, byte 14: the place of the client's address, and the length of all addresses and ports. */
const families: ReadonlyMap<number, { readonly addressBytes: 0 | 4 | 16; readonly allBytes: number }> =
  new Map([
    [0x00, { addressBytes: 0, allBytes: 0 }],
    [0x11, { addressBytes: 4, allBytes: 12 }],
    [0x21, { addressBytes: 16, allBytes: 36 }],
  ]);

/**
 * Parses the header at the beginning of a connection. Anything but an exact one for TCP is invalid, and reported as
 * soon as that is certain; an incomplete header becomes complete or invalid within 4112 bytes.
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  if (startsAs(bytes, signature)) return parseBinary(bytes);
  if (startsAs(bytes, Buffer.from('PROXY '))) return parseLine(bytes);
  return 'invalid';
}

/** Whether the bytes begin with this, or may still do when more arrive. */
function startsAs(bytes: Buffer, beginning: Buffer): boolean {
  const length = Math.min(bytes.length, beginning.length);
  return bytes.subarray(0, length).equals(beginning.subarray(0, length));
}

function parseBinary(bytes: Buffer): ReturnType<typeof parseProxyHeader> {
  const [versionAndCommand, familyAndTransport] = bytes.subarray(signature.length);
  if (versionAndCommand === undefined) return 'incomplete';
  const command = commands.get(versionAndCommand);
  if (command === undefined) return 'invalid';
  if (bytes.length < fixedBytes) return 'incomplete';
  const lengthBytes = fixedBytes + bytes.readUInt16BE(14);
  if (lengthBytes > maxBinaryBytes) return 'invalid';
  const family = command === 'local' ? families.get(0) : families.get(familyAndTransport ?? -1);
  if (family === undefined || lengthBytes < fixedBytes + family.allBytes) return 'invalid';
  if (bytes.length < lengthBytes) return 'incomplete';
  const address = bytes.subarray(fixedBytes, fixedBytes + family.addressBytes);
  return { lengthBytes, source: formatAddress(address) };
}

function formatAddress(address: Buffer): string | null {
  if (address.length === 0) return null;
  if (address.length === 4) return address.join('.');
  return (address.toString('hex').match(/.{4}/g) ?? []).join(':');
}

function parseLine(bytes: Buffer): ReturnType<typeof parseProxyHeader> {
  const end = bytes.subarray(0, maxLineBytes).indexOf('\r\n');
  if (end === -1) return bytes.length < maxLineBytes ? 'incomplete' : 'invalid';
  const [, transport = '', ...rest] = bytes.toString('latin1', 0, end).split(' ');
  const lengthBytes = end + 2;
  // Ignore everything after UNKNOWN.
  if (transport === 'UNKNOWN') return { lengthBytes, source: null };
  const isAddress = { TCP4: isIPv4, TCP6: (text: string) => isIPv6(text) && !text.includes('%') }[transport];
  const [source = '', destination = '', ...ports] = rest;
  const isRight =
    isAddress?.(source) === true && isAddress(destination) && ports.length === 2 && ports.every(isPort);
  return isRight ? { lengthBytes, source } : 'invalid';
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9][0-9]{0,4})$/.test(text) && Number(text) <= 65535;
}
