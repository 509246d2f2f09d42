import { readFile } from 'node:fs/promises';

/** A listening socket of this machine. */
export type ListeningSocket = {
  readonly address: string;
  /** The user whose process opened it. */
  readonly uid: number;
  /** Its name in the links of /proc/PID/fd. */
  readonly inode: string;
};

const listenState = '0A';

/** All sockets that listen on a port; null if the system does not tell (proc(5) is Linux's). */
export async function readListening(port: number): Promise<readonly ListeningSocket[] | null> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => null)),
  );
  const known = tables.filter((table) => table !== null);
  return known.length === 0 ? null : known.flatMap((table) => parseListening(table, port));
}

/** The listening sockets of one port, from proc(5)'s /proc/net/tcp or tcp6. */
export function parseListening(table: string, port: number): ListeningSocket[] {
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , uid, , inode = ''] = line.trim().split(/\s+/);
    const [, address, hexPort = ''] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local) ?? [];
    if (address === undefined || state !== listenState || Number.parseInt(hexPort, 16) !== port) return [];
    return [
      { address: address.length === 8 ? formatIpv4(address) : formatIpv6(address), uid: Number(uid), inode },
    ];
  });
}

/** Words are in the machine's byte order, which is little-endian wherever Node runs. */
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
