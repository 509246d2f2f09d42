import { readFile } from 'node:fs/promises';
import { once } from 'node:events';
import path from 'node:path';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { startFrontDoor, type FrontDoor, type FrontDoorOptions } from './front-door.ts';
import type { Pebble } from './pebble.ts';

/** Those that a failed test has left. */
const doors = new Set<FrontDoor>();

/** Stops all that still run; for `after`. */
export async function stopDoors(): Promise<void> {
  await Promise.all([...doors].map((door) => door.stop()));
}

export const host = 'registry.example.com';

export type AcmeDoorOptions = Partial<FrontDoorOptions> & {
  readonly hosts?: never;
  readonly names?: readonly string[];
  readonly pebble: Pebble;
  /** Default: that of the CA. */
  readonly directory?: string;
};

/** Starts the real program with a certificate by ACME, and leads the checks of the CA to it. */
export async function startAcmeDoor({
  pebble,
  names = [host],
  directory,
  set = [],
  ...options
}: AcmeDoorOptions): Promise<FrontDoor> {
  const door = await startFrontDoor({
    upstreamUrl: 'http://127.0.0.1:1',
    ...options,
    hosts: null,
    set: [
      `tls.acme.hosts=${names.join(',')}`,
      `tls.acme.directory=${directory ?? pebble.directory}`,
      `tls.acme.ca=${pebble.caPath}`,
      ...set,
    ],
  });
  doors.add(door);
  pebble.lead({ tls: [door.port], http: [Number(listeningLine(door)['httpPort'] ?? 0)] });
  return door;
}

export function listeningLine(door: FrontDoor) {
  return door.log.find(({ msg }) => msg === 'listening') ?? { msg: '' };
}

/** Waits for a log line, from the given place of the log on. */
export function loggedAfter(door: FrontDoor, from: number, matches: (msg: string) => boolean) {
  return door.logged((line) => door.log.indexOf(line) >= from && matches(line.msg));
}

export const issued = (msg: string) => msg === 'a new certificate was issued';
export const refused = (msg: string) => msg.startsWith('No certificate could be obtained');

/** Waits until the n-th certificate of this process is in use. */
export async function untilIssued(door: FrontDoor, times = 1): Promise<void> {
  await door.logged(() => door.log.filter(({ msg }) => issued(msg)).length >= times);
  // The reload may come before the line that says that it was issued: the file is written first.
  await door.logged(
    (line) =>
      line.msg === 'reloaded' &&
      line['trigger'] === 'files' &&
      door.log.indexOf(line) > door.log.findLastIndex(({ msg }) => msg === 'a certificate is being ordered'),
  );
}

/** The certificate that a listener presents for a name. */
export async function presented(
  port: number,
  options: { servername?: string; ca?: string; ALPNProtocols?: string[]; localAddress?: string } = {},
): Promise<DetailedPeerCertificate> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    servername: host,
    rejectUnauthorized: options.ca !== undefined,
    ...options,
  });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerCertificate(true);
  socket.destroy();
  return certificate;
}

/** The folder of tls.acme by default. */
export const acmeFolder = (door: Pick<FrontDoor, 'dir'>) => path.join(door.dir, 'var/state/acme');

export async function readProgress(door: Pick<FrontDoor, 'dir'>): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(path.join(acmeFolder(door), 'progress.json'), 'utf8')) as Record<
    string,
    unknown
  >;
}
