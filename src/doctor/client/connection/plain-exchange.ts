import { connect } from 'node:net';

const waitMs = 2000;
const maxBytes = 4096;

/** Sends a text without TLS and returns the answer of the next two seconds, at most 4 KiB; empty for none. */
export function exchangePlainly(
  place: { readonly host: string; readonly port: number },
  text: string,
  signal: AbortSignal,
  isWhole: (answer: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: place.host, port: place.port });
    let answer = '';
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(end, waitMs);
    signal.addEventListener('abort', end, { once: true });
    socket.once('connect', () => socket.write(text));
    socket.on('data', (part: Buffer) => {
      answer += part.toString('latin1');
      if (answer.length >= maxBytes || isWhole(answer)) end();
    });
    socket.once('error', end);
    socket.once('close', end);
  });
}
