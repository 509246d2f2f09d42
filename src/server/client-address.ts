import { BlockList, isIP } from 'node:net';

/** Finds the address a request came from, looking past the proxies that are trusted to report it. */
export type ClientAddresses = {
  isTrusted(peer: string): boolean;
  /** @param forwardedFor the X-Forwarded-For the request carried, lines joined by a comma; "" for none. */
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
  const isTrusted = (address: string): boolean =>
    trustedProxies.length > 0 &&
    isIP(address) !== 0 &&
    trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return {
    isTrusted,
    // From the right: every entry was appended by the one after it, so the first that is not trusted is the last word of
    // somebody who is; anything further left is only the client's claim.
    resolve: (peer, forwardedFor) => {
      let address = peer;
      const claimed = forwardedFor.split(',').map((part) => normalizeAddress(part.trim()));
      while (isTrusted(address)) {
        const previous = claimed.pop();
        if (previous === undefined || isIP(previous) === 0) break;
        address = previous;
      }
      return address;
    },
  };
}

/** An IPv4 client of a socket that serves both IP versions has an address of the form ::ffff:192.0.2.1 (RFC 4291 section 2.5.5.2). */
export function normalizeAddress(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}
