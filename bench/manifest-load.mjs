import tls from 'node:tls';
import { clientHeaders, runWrk } from './wrk.mjs';

/**
 * Loads one server with pulls of a manifest for some seconds. Every answer is a 200 with the whole manifest, or this throws: wrk
 * counts other statuses and all bytes, and before and after the load one answer is read and compared byte for byte.
 * @param {import('./rig.mjs').Subject} subject
 * @param {{ target: string, connections: number, seconds: number, authorization: string, mode?: string[], ca: string,
 *   manifest: { digest: string, body: Buffer } }} options
 * @returns {Promise<import('./wrk.mjs').WrkResult>}
 */
export async function loadManifest(subject, options) {
  // The first may be a miss; its head then has another length.
  await askForManifest(subject, options);
  const before = await askForManifest(subject, options);
  const result = await runWrk(subject, options);
  await askForManifest(subject, options);
  const complain = (what) => {
    throw new Error(`${subject.name}, ${options.target}: ${what}; wrk says ${JSON.stringify(result)}`);
  };
  if (result.requests === 0) complain('no answers');
  if (result.refused > 0) complain(`${result.refused} answers were not 200`);
  if (result.failed > 0) complain(`${result.failed} requests failed`);
  // At the end each connection is in the middle of one answer. A head may differ by a byte (HIT, MISS), a body may not.
  const difference = Math.abs(result.bytes - result.requests * before.bytes);
  if (difference > (options.connections + 1) * before.bytes + result.requests) {
    complain(`answers were not all of ${before.bytes} bytes`);
  }
  return result;
}

/** Sends one request as wrk does and checks the answer; returns its length in bytes, with the head. */
export async function askForManifest({ name, port }, { target, authorization, ca, manifest }) {
  const lines = Object.entries({ Host: `localhost:${port}`, ...clientHeaders, Authorization: authorization });
  const socket = tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ca });
  socket.write(
    `GET ${target} HTTP/1.1\r\n${lines.map(([field, value]) => `${field}: ${value}\r\n`).join('')}\r\n`,
  );
  let received = Buffer.alloc(0);
  let wanted = Infinity;
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk]);
    const headBytes = received.indexOf('\r\n\r\n') + 4;
    if (headBytes < 4) continue;
    const length = /\r\ncontent-length: *(\d+)/i.exec(received.toString('latin1', 0, headBytes))?.[1];
    wanted = headBytes + Number(length ?? Infinity);
    if (received.length >= wanted) break; // which ends the connection
  }
  const head = received.toString('latin1', 0, received.indexOf('\r\n\r\n'));
  const right =
    head.startsWith('HTTP/1.1 200 ') &&
    received.length === wanted &&
    received.subarray(head.length + 4).equals(manifest.body) &&
    new RegExp(`^docker-content-digest: ${manifest.digest}$`, 'im').test(head.replaceAll('\r', ''));
  if (!right) throw new Error(`${name} gave another answer than the registry's for ${target}:\n${head}`);
  return { bytes: received.length };
}
