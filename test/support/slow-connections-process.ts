import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/*
 * Opens connections and says as little on them as keeps them open: half of them trickle the head of a request, half
 * not even a whole TLS handshake. Each that is closed is replaced. Says a line of JSON now and then, and ends with its input.
 */

/** How many connections are open at a time, and how many are opened in total, at most. */
const heldAtATime = 2000;
const openedInAll = 200_000;
/** How often some are opened, and how many, which is 500 a second at most; and how often each of them sends one byte. */
const openMs = 20;
const openedAtOnce = 10;
const trickleMs = 500;

const [port = '', caPath = '', ...addresses] = process.argv.slice(2);
const ca = readFileSync(caPath, 'utf8');
const held = new Set<Socket>();
let opened = 0;
let closed = 0;

function open(): void {
  opened += 1;
  const localAddress = addresses[opened % addresses.length] ?? '127.0.0.1';
  const where = { port: Number(port), host: '127.0.0.1', localAddress };
  const socket =
    opened % 2 === 0
      ? connectTls({ ...where, ca, checkServerIdentity: () => undefined }, () =>
          socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX: '),
        )
      : connectTcp(where, () => socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])));
  held.add(socket);
  socket.on('error', () => {});
  socket.once('close', () => {
    closed += 1;
    held.delete(socket);
  });
}

setInterval(() => {
  for (let i = 0; i < openedAtOnce && held.size < heldAtATime && opened < openedInAll; i++) open();
}, openMs);
setInterval(() => {
  for (const socket of held) if (socket.writable && !socket.connecting) socket.write('x');
  console.log(JSON.stringify({ opened, closed }));
}, trickleMs);
process.stdin.resume().once('end', () => process.exit());
