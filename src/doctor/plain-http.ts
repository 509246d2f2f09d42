import { connect } from 'node:net';
import { broken, ok, quoteForeign, type Finding } from './finding.ts';

const waitMs = 2000;
const maxBytes = 4096;

/** Sends a request without TLS and gives what comes back within two seconds, at most 4 KiB; empty for nothing. */
export function askPlainly(
  place: { readonly host: string; readonly port: number; readonly authority: string },
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: place.host, port: place.port });
    let text = '';
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(end, waitMs);
    signal.addEventListener('abort', end, { once: true });
    socket.once('connect', () => {
      socket.write(`GET /v2/ HTTP/1.1\r\nHost: ${place.authority}\r\nConnection: close\r\n\r\n`);
    });
    socket.on('data', (part: Buffer) => {
      text += part.toString('latin1');
      if (text.length >= maxBytes) end();
    });
    socket.once('error', end);
    socket.once('close', end);
  });
}

/** Judges what a port that should speak TLS said to plain HTTP. */
export function judgePlainHttp(text: string): Finding {
  const check = 'plain-http';
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0);
  if (status === 0) return ok(check, 'Plain HTTP gets no answer on this port.');
  if ((status >= 200 && status < 300) || status === 401) {
    const line = quoteForeign(text.split('\r\n', 1)[0] ?? '');
    return broken(
      check,
      `The port answers plain HTTP (${line}): passwords would cross the network in clear.`,
      'let Tidegate itself listen on this port, or end TLS in what stands before it',
    );
  }
  return ok(check, `Plain HTTP is turned away on this port (${status}).`);
}
