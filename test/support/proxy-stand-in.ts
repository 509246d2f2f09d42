import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as loopTurn } from 'node:timers/promises';

/** Stands for a load balancer: a TCP relay that sends bytes of its own before the client's. */
export type ProxyStandIn = {
  readonly port: number;
  close(): Promise<void>;
};

/**
 * @param options from: its own address; pieces: what it sends on a connection, one write each, given the client's first bytes
 */
export async function startProxyStandIn({
  targetPort,
  from,
  pieces,
}: {
  targetPort: number;
  from: string;
  pieces: (first: Buffer) => readonly Buffer[];
}): Promise<ProxyStandIn> {
  const sockets = new Set<Socket>();
  const relay = async (client: Socket) => {
    const target = connect({ port: targetPort, host: '127.0.0.1', localAddress: from, noDelay: true });
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        client.destroy();
        target.destroy();
      });
    }
    target.pipe(client);
    const [first] = (await once(client, 'data')) as [Buffer];
    client.pause();
    for (const piece of pieces(first)) {
      if (target.destroyed) return;
      await new Promise((resolve) => target.write(piece, resolve));
      await loopTurn();
    }
    client.pipe(target);
  };
  const server = createServer((client) => void relay(client).catch(() => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
