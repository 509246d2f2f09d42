import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { tryConnect } from './addresses.ts';
import { createTimeLimit } from './time-limit.ts';

/** Where this machine listens on a port, and from where that can be reached. */
export type Exposure = {
  /** Addresses that something listens on; null where the system does not tell. */
  readonly bound: readonly string[] | null;
  /** This machine's own addresses, loopback aside, at which the port can be connected to. */
  readonly reached: readonly string[];
};

const listenState = '0A';
const connectLimitMs = 1500;

/** Looks for everything that listens on a port, and tries this machine's addresses other than loopback. */
export async function findExposure(port: number, signal: AbortSignal): Promise<Exposure> {
  const limit = createTimeLimit(signal, connectLimitMs);
  const addresses = outerAddresses();
  const failures = await Promise.all(addresses.map((address) => tryConnect(address, port, limit.signal)));
  limit.end();
  return { bound: await readBound(port), reached: addresses.filter((_, index) => failures[index] === null) };
}

/** This machine's own addresses, without loopback and those that need a zone. */
export function outerAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
    .map(({ address }) => address);
}

async function readBound(port: number): Promise<readonly string[] | null> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => null)),
  );
  const known = tables.filter((table) => table !== null);
  return known.length === 0 ? null : [...new Set(known.flatMap((table) => parseListening(table, port)))];
}

/** The addresses of the listening sockets of one port, from proc(5)'s /proc/net/tcp or tcp6. */
export function parseListening(table: string, port: number): string[] {
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [, address, hexPort = ''] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local) ?? [];
    if (address === undefined || state !== listenState || Number.parseInt(hexPort, 16) !== port) return [];
    return [address.length === 8 ? formatIpv4(address) : formatIpv6(address)];
  });
}

/** Words are in the order of the machine's bytes, which on all that Node runs on is the little end first. */
function bytesOf(hex: string): number[] {
  const words = hex.match(/.{8}/g) ?? [];
  return words.flatMap((word) =>
    (word.match(/../g) ?? []).reverse().map((byte) => Number.parseInt(byte, 16)),
  );
}

function formatIpv4(hex: string): string {
  return bytesOf(hex).join('.');
}

function formatIpv6(hex: string): string {
  const bytes = bytesOf(hex);
  if (hex.startsWith('0000000000000000FFFF0000')) return bytes.slice(12).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
