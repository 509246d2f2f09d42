import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { OperatorError } from '../system/operator-error.ts';

/** A name that clients use for the registry, in the form of a certificate's SAN. */
export type ServerName = { kind: 'dns' | 'ip'; value: string };

// RFC 1123 section 2.1, plus the underscore, which is not allowed in host names but occurs in machine names.
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * Parses a host name, a wildcard (`*.example.com`) or an IP literal into its canonical lower-case form.
 * @throws OperatorError when no TLS client could match it.
 */
export function parseServerName(text: string): ServerName {
  if (isIP(text) !== 0) return parseServerIp(text);
  if (/[^\x20-\x7e]/.test(text)) {
    const ascii = domainToASCII(text);
    throw new OperatorError(
      `"${text}" is an internationalised name: write it in its ASCII form${ascii === '' ? ', which begins with xn--' : `, ${ascii}`}.`,
    );
  }
  const value = text.toLowerCase();
  const labels = value.split('.');
  if (labels[0] === '*') {
    labels.shift();
    // OpenSSL and Go match no wildcard directly under a top-level name.
    if (labels.length < 2) {
      throw new OperatorError(
        `"${text}" is too wide a wildcard: clients accept one only above two labels, as in *.example.com.`,
      );
    }
  }
  const last = labels.at(-1) ?? '';
  // A name that ends in a number is read as an IPv4 address by clients (WHATWG URL, section 3.5).
  if (value.length > 253 || !labels.every((part) => label.test(part)) || /^\d+$/.test(last)) {
    throw new OperatorError(
      `"${text}" is not a host name or IP address: give it bare, without https://, port, path or brackets, as in registry.example.com.`,
    );
  }
  return { kind: 'dns', value };
}

/** Parses an IPv4 or IPv6 literal into its canonical form (RFC 5952). @throws OperatorError for anything else. */
export function parseServerIp(text: string): ServerName {
  const version = isIP(text);
  // A zone ("fe80::1%eth0") is meaningful on one machine only, and is not allowed in a certificate.
  if (version === 0 || text.includes('%')) {
    throw new OperatorError(`"${text}" is not an IP address: give one as in 192.0.2.10 or 2001:db8::10.`);
  }
  return { kind: 'ip', value: version === 6 ? canonicalIpv6(text) : text };
}

/** Parses the DNS and IP names in Node's X509Certificate.subjectAltName; ignores other kinds of names. */
export function parseAltNames(subjectAltName: string | undefined): ServerName[] {
  const names: ServerName[] = [];
  // Node puts a value that holds a comma or a quote into quotes, so that it can't pass for several entries.
  for (const entry of subjectAltName?.match(/(?:"(?:[^"\\]|\\[^]?)*(?:"|$)|[^,"])+/g) ?? []) {
    const [, kind, value] = /^\s*(DNS|IP Address):([^"]+)$/.exec(entry) ?? [];
    if (value === undefined) continue;
    if (kind === 'DNS') names.push({ kind: 'dns', value: value.toLowerCase() });
    else if (isIP(value) !== 0 && !value.includes('%')) names.push(parseServerIp(value));
  }
  return names;
}

function canonicalIpv6(text: string): string {
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}
