import assert from 'node:assert/strict';
import { connect as connectTcp, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { createContainersClient } from '../support/clients-containers.ts';
import type { Client } from '../support/clients.ts';
import { password, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { createImage, type Image } from '../support/image.ts';
import { until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

/** How many connections are held at a time, and how many are opened in all, at most. */
const heldAtATime = 2000;
const openedInAll = 100_000;
/** How often each of them sends one byte, in milliseconds. */
const trickleMs = 500;

type Attack = {
  /** How many connections were opened so far, and how many of them by whom the door has closed meanwhile. */
  readonly opened: number;
  readonly closed: number;
  stop(): void;
};

/** Opens connections and says as little on them as keeps them open, half of them not even a whole TLS handshake; each that ends is replaced. */
function attack(frontDoor: Pick<FrontDoor, 'port' | 'ca'>, addresses: readonly string[]): Attack {
  const held = new Set<Socket>();
  let opened = 0;
  let closed = 0;
  let stopped = false;
  const open = () => {
    if (stopped || opened >= openedInAll) return;
    const number = (opened += 1);
    const where = {
      port: frontDoor.port,
      host: '127.0.0.1',
      localAddress: addresses[number % addresses.length] ?? '127.0.0.1',
    };
    const isSecure = number % 2 === 0;
    const socket = isSecure
      ? connectTls({ ...where, ca: frontDoor.ca, servername: 'localhost' }, () =>
          socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX: '),
        )
      : connectTcp(where, () => socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])));
    held.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      closed += 1;
      held.delete(socket);
    });
  };
  const opening = setInterval(() => {
    for (let i = 0; i < 10 && held.size < heldAtATime; i++) open();
  }, 20);
  const trickle = setInterval(() => {
    for (const socket of held) if (socket.writable && !socket.connecting) socket.write('x');
  }, trickleMs);
  return {
    get opened() {
      return opened;
    },
    get closed() {
      return closed;
    },
    stop: () => {
      stopped = true;
      clearInterval(opening);
      clearInterval(trickle);
      for (const socket of held) socket.destroy();
    },
  };
}

describe(
  `${heldAtATime} connections that say hardly anything`,
  { timeout: 240_000, skip: unlessInstalled('docker-registry', 'skopeo', 'tar') },
  () => {
    let registry: Registry;
    let image: Image;
    before(async () => {
      registry = await startRegistry();
      image = await createImage({ layerCount: 3, layerBytes: 200_000 });
    });
    after(async () => {
      await image.remove();
      await registry.stop();
    });

    const many = Array.from({ length: 200 }, (_, i) => `127.0.${1 + Math.floor(i / 100)}.${1 + (i % 100)}`);
    for (const [what, addresses, settings] of [
      ['from many addresses, as many as are allowed in all', many, ['limits.connections=1000']],
      ['from the address that a pull comes from', ['127.0.0.1'], ['limits.connectionsPerAddress=500']],
      ['from one address, with several workers', ['127.0.0.1'], ['limits.connections=1000', 'workers=2']],
    ] as const) {
      test(`do not keep a pull or a push out: ${what}`, async () => {
        const frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: settings });
        let skopeo: Client | undefined;
        let attackers: Attack | undefined;
        try {
          const access = { loggedIn: true, trusting: true };
          skopeo = await createContainersClient('skopeo', {
            host: `localhost:${frontDoor.port}`,
            ca: frontDoor.ca,
            image,
          });
          assert.equal((await skopeo.login(password, access)).code, 0);
          const underAttack = (attackers = attack(frontDoor, addresses));
          await until('they fill what there is', () => underAttack.opened >= heldAtATime, 60_000);
          await until('the door defends itself', () => underAttack.closed > 0, 60_000);
          for (const run of [1, 2, 3]) {
            const pushed = await skopeo.push(`slow/loris:${run}`, access);
            assert.equal(pushed.code, 0, pushed.stderr);
            const pulled = await skopeo.pull(`slow/loris:${run}`, access);
            assert.equal(pulled.code, 0, pulled.stderr);
            assert.equal((await skopeo.pulled(`slow/loris:${run}`)).id, image.id);
          }
          assert.ok(underAttack.opened < openedInAll, 'the attack was over too soon to prove anything');
          await frontDoor.logged(({ msg }) => msg.includes('is reached') && msg.includes('oldest'));
        } finally {
          attackers?.stop();
          await skopeo?.cleanUp();
          await frontDoor.stop();
        }
      });
    }
  },
);
