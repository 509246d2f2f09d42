import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { startFrontDoor } from '../../test/support/front-door.ts';
import { authorized, exchange } from '../../test/support/raw-client.ts';
import { until } from '../../test/support/redis.ts';
import type { Measured, Trial } from '../trial.ts';
import { startBystander } from './bystander.ts';
import { eachAtOnce, type ClientRig } from './client-rig.ts';
import { readHoldings, untilBack, type Holdings } from './leak-check.ts';

/** How many come from one address: fewer than limits.connectionsPerAddress and than its free ports. */
const perAddress = 2000;

/** The most memory of an idle connection, with its TLS session; it is 20 to 40 KiB. */
const mostBytesEach = 128 * 1024;

/** Idle connections, with TLS and without, under the default limits: all others are served as before. */
async function runCrowd(rig: ClientRig): Promise<Measured> {
  const { registry, small, form } = rig;
  const size = { quick: 200, ci: 2000, long: 9990 }[form];
  const frontDoor = await startFrontDoor({
    upstreamUrl: registry.url,
    set: ['limits.handshakeTimeout=10m', 'limits.headerTimeout=10m'],
  });
  const sockets: Socket[] = [];
  try {
    const bystander = startBystander(frontDoor, [small]);
    // As many at once as later: connections to the registry are kept for a while.
    await eachAtOnce(10, Array(40), async () => {
      await exchange(frontDoor, authorized(`GET ${small.target}`));
    });
    await bystander.settled();
    const before = await readHoldings(frontDoor.pid);
    const numbers = Array.from({ length: size }, (_, i) => i);
    await eachAtOnce(20, numbers, async (number) => {
      const localAddress = `127.0.0.${2 + Math.floor(number / perAddress)}`;
      const tcp = connect({ host: '127.0.0.1', port: frontDoor.port, localAddress });
      tcp.on('error', () => {});
      sockets.push(tcp);
      await once(tcp, 'connect');
      if (number % 2 === 0) return;
      const tls = connectTls({ socket: tcp, ca: frontDoor.ca, servername: 'localhost' });
      tls.on('error', () => {});
      await once(tls, 'secureConnect');
    });
    await until(
      'all are in',
      async () => (await readHoldings(frontDoor.pid)).descriptors >= before.descriptors + size,
    );
    const full = await readHoldings(frontDoor.pid);
    const bytesEach = (full.bytes - before.bytes) / size;
    assert.ok(
      bytesEach < mostBytesEach || form === 'quick',
      `an idle connection holds ${Math.round(bytesEach)} bytes`,
    );
    for (let i = 0; i < 20; i++) {
      const { status, body } = await exchange(frontDoor, authorized(`GET ${small.target}`));
      assert.ok(status === 200 && body.equals(small.bytes), `a new client among ${size}: ${status}`);
    }
    await bystander.settled();
    const open = sockets.filter((socket) => !socket.destroyed).length;
    assert.equal(open, size, 'idle connections that are open still');
    for (const socket of sockets) socket.destroy();
    // The C library keeps most of the freed memory for later, and what it takes to end them all at once besides.
    await untilBack(frontDoor.pid, { ...before, bytes: 2 * full.bytes });
    await bystander.stop();
    const mib = ({ bytes }: Holdings) => Math.round(bytes / 2 ** 20);
    const figure = `Memory with ${size} idle connections, half of them TLS: ${mib(full)} MiB, ${mib(before)} before; after all have closed at once: ${mib(await readHoldings(frontDoor.pid))} MiB.`;
    return { cases: size, figure };
  } finally {
    for (const socket of sockets) socket.destroy();
    await frontDoor.stop();
  }
}

export const clientCrowd = (rig: ClientRig): Trial => ({
  name: 'a crowd of connections that do nothing: everybody else is served',
  run: () => runCrowd(rig),
});
