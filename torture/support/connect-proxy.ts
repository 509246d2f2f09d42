import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

/** An HTTP proxy for CONNECT that leads to one port of loopback whatever is asked for: so a client takes any name for its own. */
export type ConnectProxy = {
  readonly url: string;
  readonly port: number;
  /** Where the connections from now on lead. */
  targetPort: number;
  close(): Promise<void>;
};

export async function startConnectProxy(): Promise<ConnectProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((_req, res) => res.writeHead(405).end());
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (_req, client: Socket, first: Buffer) => {
    const target = connect(proxy.targetPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.write(first);
      target.pipe(client);
      client.pipe(target);
    });
    sockets.add(target);
    for (const socket of [client, target])
      socket
        .on('error', () => {})
        .once('close', () => {
          client.destroy();
          target.destroy();
        });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy: ConnectProxy = {
    url: `http://127.0.0.1:${port}`,
    port,
    targetPort: 0,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}
