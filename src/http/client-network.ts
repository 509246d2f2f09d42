import { isIPv6 } from 'node:net';

/**
 * Returns the network that counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which usually
 * belongs to one client (RFC 7421). IPv4 in IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 address; anything that is not
 * an address stays as it is.
 */
export function clientNetwork(address: string): string {
  const [bare = ''] = address.split('%', 1); // an interface, as in fe80::1%eth0
  if (!isIPv6(bare)) return bare;
  const groups = parseGroups(bare);
  if (groups.slice(0, 6).join() === '0,0,0,0,0,65535') {
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 255])
      .join('.');
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}

/** The eight groups of an IPv6 address in any of its text forms (RFC 4291 section 2.2). */
export function parseGroups(address: string): number[] {
  const hexadecimal = address.replace(/\d{1,3}(?:\.\d{1,3}){3}$/, (dotted) => {
    const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [left = [], right = []] = hexadecimal
    .split('::')
    .map((part) => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16))));
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}
