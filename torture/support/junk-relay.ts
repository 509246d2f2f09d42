import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What a server of TLS says, and right after its first words, in the same piece, what is no TLS. */
export type JunkRelay = {
  readonly port: number;
  /** How many connections it has sent junk on so far. */
  readonly spoken: number;
  close(): Promise<void>;
};

/** A record of application data that no key has made (RFC 8446 section 5.2). */
const junk = Buffer.concat([Buffer.from([0x17, 3, 3, 0, 32]), Buffer.alloc(32, 1)]);

export async function startJunkRelay(targetPort: number): Promise<JunkRelay> {
  const sockets = new Set<Socket>();
  let spoken = 0;
  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1');
    client.pipe(target);
    target.once('data', (flight: Buffer) => {
      spoken += 1;
      client.write(Buffer.concat([flight, junk]));
      target.pipe(client);
    });
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket
        .on('error', () => {})
        .once('close', () => {
          client.destroy();
          target.destroy();
        });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get spoken() {
      return spoken;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
