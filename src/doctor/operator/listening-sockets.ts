import { networkInterfaces } from 'node:os';
import { readListening } from '../../system/listening-table.ts';
import { tryConnect } from '../client/connection/addresses.ts';
import { createTimeLimit } from '../../system/time-limit.ts';

/** Where this machine listens on a port, and from where that can be reached. */
export type Exposure = {
  /** Addresses with a listener; null if the system does not tell. */
  readonly bound: readonly string[] | null;
  /** This machine's own addresses, except loopback, at which the port accepts connections. */
  readonly reached: readonly string[];
};

const connectLimitMs = 1500;

/** Finds everything that listens on a port, and tries this machine's addresses other than loopback. */
export async function findExposure(port: number, signal: AbortSignal): Promise<Exposure> {
  const limit = createTimeLimit(signal, connectLimitMs);
  const addresses = outerAddresses();
  const failures = await Promise.all(addresses.map((address) => tryConnect(address, port, limit.signal)));
  limit.end();
  return { bound: await findBound(port), reached: addresses.filter((_, index) => failures[index] === null) };
}

/** This machine's own addresses, without loopback and those that need a zone. */
export function outerAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
    .map(({ address }) => address);
}

async function findBound(port: number): Promise<readonly string[] | null> {
  const sockets = await readListening(port);
  return sockets === null ? null : [...new Set(sockets.map(({ address }) => address))];
}
