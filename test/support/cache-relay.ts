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
  /** Holds all answers to HTTP GETs from now on, until they are released: the newest first, the oldest last. */
  stallReads(): void;
  releaseReads(): Promise<void>;
  /** What those asked for that are held. */
  readonly heldReads: readonly string[];
  close(): Promise<void>;
};

/** So long one answer to a GET follows another when they are released: the newer has then been dealt with. */
const heldApartMs = 20;
/** Of a GET it tells the target. */
const requestStart = /^(?:GET (\/\S*)|(?:HEAD|POST|PUT|PATCH|DELETE) \/)/;

export async function startCacheRelay(targetPort: number): Promise<CacheRelay> {
  const sockets = new Set<Socket>();
  let gate = Promise.resolve();
  let openGate = () => {};
  let stallsReads = false;
  const heldReads: { readonly target: string; readonly go: () => void }[] = [];
  /** Of a connection to the target: what the last request on it asks for, if it is a GET. */
  const reading = new WeakMap<Socket, string>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const carry = async (from: Socket, to: Socket) => {
    try {
      for await (const chunk of from) {
        const [method = '', read] = requestStart.exec((chunk as Buffer).toString('latin1', 0, 1000)) ?? [];
        if (read !== undefined) reading.set(to, read);
        else if (method !== '') reading.delete(to);
        if (relay.delayMs > 0) await pause(Math.random() * relay.delayMs);
        const target = reading.get(from);
        if (stallsReads && target !== undefined)
          await new Promise<void>((go) => heldReads.push({ target, go }));
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
    stallReads: () => {
      stallsReads = true;
    },
    releaseReads: async () => {
      stallsReads = false;
      for (let held; (held = heldReads.pop()) !== undefined;) {
        held.go();
        await pause(heldApartMs);
      }
    },
    get heldReads() {
      return heldReads.map(({ target }) => target);
    },
    close: async () => {
      openGate();
      await relay.releaseReads();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return relay;
}
