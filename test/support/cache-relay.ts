import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** A TCP relay to a port on loopback that can slow down or hold its connections. */
export type CacheRelay = {
  readonly port: number;
  /** Delays each piece of data by a random time up to this one, in order; 0: no delay. */
  delayMs: number;
  /** Holds all data from now on, in both directions, until it is released. */
  stall(): void;
  release(): void;
  close(): Promise<void>;
};

export async function startCacheRelay(targetPort: number): Promise<CacheRelay> {
  const sockets = new Set<Socket>();
  let gate = Promise.resolve();
  let openGate = () => {};
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const carry = async (from: Socket, to: Socket) => {
    try {
      for await (const chunk of from) {
        if (relay.delayMs > 0) await pause(Math.random() * relay.delayMs);
        await gate;
        to.write(chunk as Buffer);
      }
      await gate;
      to.end();
    } catch {
      to.destroy(); // a reset goes through as one
    }
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: '127.0.0.1', port: targetPort, allowHalfOpen: true });
    track(client);
    track(upstream);
    upstream.on('close', () => client.destroy());
    client.on('close', () => upstream.destroy());
    void carry(client, upstream);
    void carry(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay: CacheRelay = {
    port: (server.address() as AddressInfo).port,
    delayMs: 0,
    stall: () => {
      gate = new Promise((resolve) => (openGate = resolve));
    },
    release: () => openGate(),
    close: async () => {
      openGate();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return relay;
}
