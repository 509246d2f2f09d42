import { isIP, isIPv4 } from 'node:net';
import { canonicalAddress } from './client-address.ts';
import { parseGroups } from './client-network.ts';

/** A network of addresses (CIDR, RFC 4632). */
export type Network = {
  /** Equal for all texts of one network: `10.0.0.0/8`. */
  readonly text: string;
  readonly isIPv4: boolean;
  /** The first address. An IPv4 address is in IPv6 (RFC 4291 section 2.5.5.2), and the prefix counts from there. */
  readonly start: bigint;
  readonly prefix: number;
};

const addressBits = 128;
/** Those that precede an IPv4 address in IPv6, and what they are. */
const mappedBits = 96;
const mapped = 0xffffn;

/** Parses an address, or a network by its first address. @throws RangeError with what is wrong, to be put behind it */
export function parseNetwork(text: string): Network {
  const { network, address } = parseAnyForm(text) ?? {};
  if (network === undefined)
    throw new RangeError('is neither an address nor a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8');
  if (network.start !== address)
    throw new RangeError(`does not begin with the first address of its network: write ${network.text}`);
  return network;
}

/** Whether some address is both in the network and in what `listen.trustedProxies` names. */
export function overlaps(network: Network, trusted: string): boolean {
  const other = parseAnyForm(trusted)?.network;
  if (other === undefined || (other.isIPv4 && !network.isIPv4)) return false;
  const prefix = Math.min(network.prefix, other.prefix);
  return firstOf(network.start, prefix) === firstOf(other.start, prefix);
}

/** Whether all addresses of the network are in the wider one. */
export function isWithin(network: Network, wider: Network): boolean {
  if (network.isIPv4 !== wider.isIPv4 || network.prefix < wider.prefix) return false;
  return firstOf(network.start, wider.prefix) === wider.start;
}

/** Returns the texts of the networks that an address is in. */
export type FindNetworks = (address: string) => readonly string[];

/** Prepares the search; it takes time in proportion to the number of different prefixes. */
export function createNetworkIndex(networks: readonly Network[]): FindNetworks {
  const byPrefix = new Map<number, Map<bigint, string>>();
  for (const { prefix, start, text } of networks) {
    const texts = byPrefix.get(prefix) ?? new Map<bigint, string>();
    byPrefix.set(prefix, texts.set(start, text));
  }
  return (address) => {
    const bits = parseAddress(address);
    if (bits === null) return [];
    return [...byPrefix].flatMap(([prefix, texts]) => {
      // No network of IPv6 has IPv4 addresses, not even ::/0.
      if (isMapped(bits) && prefix < mappedBits) return [];
      return texts.get(firstOf(bits, prefix)) ?? [];
    });
  };
}

/** Also reads a network by another of its addresses; null for anything else. */
function parseAnyForm(text: string): { network: Network; address: bigint } | null {
  const [, address = '', length] = /^([^/%]+)(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(text) ?? [];
  const bits = parseAddress(address);
  if (bits === null) return null;
  const prefix = length === undefined ? addressBits : Number(length) + (isIPv4(address) ? mappedBits : 0);
  if (prefix > addressBits) return null;
  const start = firstOf(bits, prefix);
  const isOfIPv4 = isMapped(start) && prefix >= mappedBits;
  const shown = `${formatAddress(start)}/${isOfIPv4 ? prefix - mappedBits : prefix}`;
  return { network: { text: shown, isIPv4: isOfIPv4, start, prefix }, address: bits };
}

/** Whether this is an address of a client, with or without an interface. */
export function isAddress(text: string): boolean {
  return parseAddress(text) !== null;
}

/** Null for what is no address. The interface in `fe80::1%eth0` is no part of it. */
function parseAddress(text: string): bigint | null {
  const [bare = ''] = text.split('%', 1);
  if (isIP(bare) === 0) return null;
  const groups = parseGroups(isIPv4(bare) ? `::ffff:${bare}` : bare);
  return groups.reduce((bits, group) => (bits << 16n) | BigInt(group), 0n);
}

function isMapped(address: bigint): boolean {
  return address >> BigInt(addressBits - mappedBits) === mapped;
}

/** The first address of the network with this prefix that the address is in. */
function firstOf(address: bigint, prefix: number): bigint {
  const others = BigInt(addressBits - prefix);
  return (address >> others) << others;
}

function formatAddress(address: bigint): string {
  const digits = address.toString(16).padStart(addressBits / 4, '0');
  return canonicalAddress((digits.match(/.{4}/g) ?? []).join(':'));
}
