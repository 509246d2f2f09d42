import path from 'node:path';
import tls from 'node:tls';
import { root } from '../../src/quickstart/prepare.mjs';
import { run } from '../../src/quickstart/step.mjs';

/** How many keep-alive connections ask at the same time. */
export const connections = 32;
const threads = 2;

/** What containerd 1.7 sends for a manifest. */
const clientHeaders = {
  Accept:
    'application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, ' +
    'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*',
  'User-Agent': 'containerd/1.7.24',
};

/**
 * Loads one server for some seconds. Every answer is a 200 with the whole manifest, or this throws: wrk counts other statuses and
 * all bytes, and before and after the load one answer is read and compared byte for byte.
 * @param {{ name: string, port: number }} subject
 * @param {{ path: string, seconds: number, authorization: string, ca: string, manifest: { digest: string, body: Buffer } }} options
 * @returns {Promise<number>} requests per second
 */
export async function measure(subject, options) {
  const { seconds, authorization } = options;
  // The first may be a miss, and then says so in a head of another length.
  await askOnce(subject, options);
  const before = await askOnce(subject, options);
  const headers = Object.entries({ ...clientHeaders, Authorization: authorization });
  const printed = await run('wrk', [
    ...['--threads', String(threads), '--connections', String(connections), '--duration', `${seconds}s`],
    ...['--timeout', '60s', '--script', path.join(root, 'test/bench/report.lua')],
    ...headers.flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
    `https://localhost:${subject.port}${options.path}`,
  ]);
  const result = JSON.parse(printed.trim().split('\n').at(-1));
  await askOnce(subject, options);
  const complain = (what) => {
    throw new Error(`${subject.name}, ${options.path}: ${what}; wrk says ${JSON.stringify(result)}`);
  };
  if (result.requests === 0) complain('no answers');
  if (result.refused > 0) complain(`${result.refused} answers were not 200`);
  if (result.failed > 0) complain(`${result.failed} requests failed`);
  // At the end each connection is in the middle of one answer. A head may differ by a byte (HIT, MISS), a body may not.
  const difference = Math.abs(result.bytes - result.requests * before.bytes);
  if (difference > (connections + 1) * before.bytes + result.requests) {
    complain(`answers were not all of ${before.bytes} bytes`);
  }
  return result.requests / (result.microseconds / 1e6);
}

/** One request as wrk sends it, its answer checked; gives the answer's length in bytes, its head included. */
async function askOnce({ name, port }, { path: target, authorization, ca, manifest }) {
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
