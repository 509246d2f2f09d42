import { BlockList, isIP, isIPv6, SocketAddress } from 'node:net';

/** Finds the client address of a request, looking past trusted proxies. */
export type ClientAddresses = {
  isTrusted(peer: string): boolean;
  /** @param forwardedFor the X-Forwarded-For of the request, lines joined by a comma; "" for none. */
  resolve(peer: string, forwardedFor: string): string;
};

/** @param trustedProxies addresses and CIDR networks, IPv4 or IPv6, checked by the configuration. */
export function createClientAddresses(trustedProxies: readonly string[]): ClientAddresses {
  const trusted = new BlockList();
  for (const entry of trustedProxies) {
    const [address = '', prefix] = entry.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) trusted.addAddress(address, family);
    else trusted.addSubnet(address, Number(prefix), family);
  }
  const isTrusted = (address: string): boolean => {
    if (trustedProxies.length === 0) return false;
    const [bare = ''] = address.split('%', 1); // an interface, as in fe80::1%eth0
    const family = isIP(bare);
    return family !== 0 && trusted.check(bare, family === 6 ? 'ipv6' : 'ipv4');
  };
  return {
    isTrusted,
    // Reads from the right: each entry was appended by the one after it. So the first untrusted entry was reported by a
    // trusted proxy; anything further left is only the client's claim.
    resolve: (peer, forwardedFor) => {
      let address = peer;
      const claimed = forwardedFor.split(',').map((part) => parseForwarded(part.trim()));
      while (isTrusted(address)) {
        const previous = claimed.pop();
        if (previous === undefined) break;
        address = previous;
      }
      return address;
    },
  };
}

/** Parses an entry of X-Forwarded-For: an address, with or without brackets and port; undefined for anything else. */
function parseForwarded(entry: string): string | undefined {
  const [, bracketed, dotted] = /^(?:\[([^\]]*)\]|([\d.]+))(?::\d{1,5})?$/.exec(entry) ?? [];
  const address = bracketed ?? dotted ?? entry;
  const isAddress = bracketed === undefined ? isIP(address) !== 0 : isIPv6(address);
  return isAddress && !address.includes('%') ? canonicalAddress(address) : undefined;
}

/** Normalizes an address (RFC 5952); IPv4 in IPv6 becomes IPv4. */
export function canonicalAddress(address: string): string {
  return isIPv6(address) ? normalizeAddress(new SocketAddress({ address, family: 'ipv6' }).address) : address;
}

/** On a dual-stack socket, an IPv4 client has an address of the form ::ffff:192.0.2.1 (RFC 4291 section 2.5.5.2). */
export function normalizeAddress(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}
