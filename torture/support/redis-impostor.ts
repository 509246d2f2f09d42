import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What is spoken in Redis's place on a connection: called with all that comes, command by command as ioredis sends them. */
export type Nonsense = (socket: Socket, command: Buffer) => void;

/** The address of a Redis, behind which is the real one or something else. */
export type RedisImpostor = {
  readonly port: number;
  /** Null: the real one again. Connections of before are cut, as when a server is replaced. */
  speak(nonsense: Nonsense | null): void;
  /** Says this on every connection to the real one, unasked. */
  interject(bytes: string | Buffer): void;
  /** From now on another server is the real one. Connections of before are cut. */
  redirect(realPort: number): void;
  /** How many connections have been opened so far. */
  readonly connections: number;
  close(): Promise<void>;
};

export async function startRedisImpostor(realPort: number): Promise<RedisImpostor> {
  const sockets = new Set<Socket>();
  /** Those that speak with the real one. */
  const clients = new Set<Socket>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  let nonsense: Nonsense | null = null;
  let port = realPort;
  let connections = 0;
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    connections += 1;
    track(client);
    const spoken = nonsense;
    if (spoken) {
      client.on('data', (command: Buffer) => spoken(client, command));
      return;
    }
    clients.add(client);
    client.on('close', () => clients.delete(client));
    const real = connect(port, '127.0.0.1');
    track(real);
    client.on('data', (bytes: Buffer) => real.write(bytes));
    real.on('data', (bytes: Buffer) => client.write(bytes));
    client.on('close', () => real.destroy());
    real.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    speak: (next) => {
      nonsense = next;
      cut();
    },
    interject: (bytes) => {
      for (const client of clients) client.write(bytes);
    },
    redirect: (next) => {
      port = next;
      cut();
    },
    get connections() {
      return connections;
    },
    close: async () => {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}

/** Enough of an answer that ioredis takes the server for one that is ready. */
const greeting = '$21\r\nredis_version:7.0.15\n\r\n';
/** Greets, and then says this to every command. */
const greetThen =
  (answer: string | Buffer): Nonsense =>
  (socket, command) => {
    const isGreeting = /\binfo\b/i.test(command.toString('latin1'));
    socket.write(isGreeting ? greeting : answer);
  };
const always =
  (answer: string | Buffer): Nonsense =>
  (socket) => {
    if (!socket.writableNeedDrain) socket.write(answer);
  };

/** Writes until the connection is closed, as fast as it is read, and at most so much in bytes. */
const pour =
  (head: string, maxBytes: number, what = 'x'): Nonsense =>
  (socket, command) => {
    if (/\binfo\b/i.test(command.toString('latin1'))) {
      socket.write(greeting);
      return;
    }
    const piece = Buffer.alloc(64 * 1024, what);
    let left = maxBytes;
    const more = () => {
      while (left > 0 && !socket.destroyed) {
        left -= piece.length;
        if (!socket.write(piece)) {
          socket.once('drain', more);
          return;
        }
      }
    };
    socket.write(head);
    more();
  };

const mebibyte = 1024 * 1024;

/** What may answer where a Redis is expected: another kind of server, a broken one, or one that means harm. */
export const nonsenses: Readonly<Record<string, Nonsense>> = {
  'another protocol': always('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'),
  'random bytes': always(Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919 + 13) % 256))),
  'silence at once': (socket) => void socket.pause(),
  'an end at once': (socket) => void socket.end(),
  'a reset at once': (socket) => void socket.resetAndDestroy(),
  'a number for everything': greetThen(':1\r\n'),
  'a text for everything': greetThen('+OK\r\n'),
  'nothing for everything': greetThen('$-1\r\n'),
  'an empty list for everything': greetThen('*0\r\n'),
  'lists of the wrong things': greetThen('*2\r\n:5\r\n*1\r\n$-1\r\n'),
  'a ticket with a value that nobody stored': greetThen('*2\r\n$9\r\na.b.value\r\n$5\r\nhello\r\n'),
  'an error for everything': greetThen('-ERR unknown command\r\n'),
  'an error without a word': greetThen('-\r\n'),
  'more answers than questions': greetThen('+OK\r\n'.repeat(50)),
  'half an answer': greetThen('$10\r\nabc'),
  'half an answer, and an end': (socket, command) => {
    greetThen('*2\r\n$9\r\nab')(socket, command);
    if (!/\binfo\b/i.test(command.toString('latin1'))) socket.end();
  },
  'an unknown type': greetThen('!21\r\nSYNTAX invalid syntax\r\n'),
  'a map of the third protocol': greetThen('%1\r\n+a\r\n:1\r\n'),
  'a length that is none': greetThen('$abc\r\n'),
  'a length below zero': greetThen('$-7\r\n*-9\r\n'),
  'a list longer than lists can be': greetThen('*4294967296\r\n'),
  'a list of a thousand million': greetThen('*1000000000\r\n:1\r\n'),
  'a text longer than memory': greetThen('$99999999999999\r\nabc'),
  'lists in lists in lists': greetThen('*1\r\n'.repeat(200_000)),
  'a number without an end': pour(':', 64 * mebibyte),
  'a line without an end': pour('+', 64 * mebibyte),
  'a list without an end': pour('*1000000000\r\n', 64 * mebibyte, ':1\r\n'),
  'a text without an end': pour('$1000000000\r\n', 512 * mebibyte),
};

/** What is said in between, unasked, on a connection that was in use. */
export const interjections: Readonly<Record<string, string>> = {
  'one answer too many': '+OK\r\n',
  'an answer too many of the right form': '*3\r\n$5\r\na.b.c\r\n$5\r\nhello\r\n$2\r\nab\r\n',
  'many answers too many': '$-1\r\n'.repeat(100),
  'a list that swallows what follows': '*5\r\n',
  'a text that swallows what follows': '$100000\r\n',
  'something that is no answer': 'hello\r\n',
};
