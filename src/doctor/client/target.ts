import { isIPv6 } from 'node:net';
import { OperatorError } from '../../system/operator-error.ts';
import { parseServerIp, parseServerName, type ServerName } from '../../tls/server-name.ts';
import { isLoopback } from '../operator/loopback.ts';

/** The address of Tidegate that clients use. */
export type Target = {
  readonly name: ServerName;
  readonly port: number;
  /** The address to try if the name does not resolve here; null when only the name is known. */
  readonly fallbackAddress: string | null;
};

const form = /^https:\/\/(?:\[([0-9A-Fa-f:.]+)\]|([^/:?#@[\]\s]+))(?::(\d{1,5}))?\/?$/i;

/** Parses `https://HOST[:PORT]`. @throws OperatorError for anything else, without repeating what may hold a password. */
export function parseTarget(url: string): Target {
  const [, bracketed, plain, digits = '443'] = form.exec(url) ?? [];
  const port = Number(digits);
  const text = bracketed ?? plain;
  if (text === undefined || port < 1 || port > 65_535) {
    throw new OperatorError('The address is not of the form https://HOST or https://HOST:PORT.');
  }
  const name = bracketed === undefined ? parseServerName(text) : parseServerIp(text);
  if (name.value.startsWith('*.')) throw new OperatorError('The address names a wildcard: name one host.');
  return { name, port, fallbackAddress: null };
}

/**
 * Finds the address that a configuration describes: the certificate's first name for clients, and the port. Null
 * without either.
 */
export function chooseTarget(
  names: readonly ServerName[],
  listen: { readonly host: string; readonly port: number },
): Target | null {
  const single = names.filter(({ value }) => !value.startsWith('*.'));
  const name =
    single.find(({ kind, value }) => kind === 'dns' && value !== 'localhost') ??
    single.find(({ kind, value }) => kind === 'ip' && !isLoopback(value)) ??
    single[0];
  if (name === undefined || listen.port === 0) return null;
  return { name, port: listen.port, fallbackAddress: reachableAddress(listen.host) };
}

/** The address at which this machine reaches something that listens on it. */
export function reachableAddress(listenHost: string): string {
  return ['::', '0.0.0.0', '*', ''].includes(listenHost) ? '127.0.0.1' : listenHost;
}

/** `HOST[:PORT]` as in a URL and in the Host header, without the port of https. */
export function formatAuthority({ name, port }: Target): string {
  const host = isIPv6(name.value) ? `[${name.value}]` : name.value;
  return port === 443 ? host : `${host}:${port}`;
}
