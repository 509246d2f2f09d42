import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { run } from '../src/quickstart/step.mjs';

/**
 * Runs one request with curl and discards the answer's body.
 * @param {import('./rig.mjs').Rig} rig
 * @param {import('./rig.mjs').Subject} subject
 * @param {string} target
 * @param {string[]} [args] further ones of curl
 * @returns {Promise<{ status: number, bytesIn: number, bytesOut: number, startedAtMs: number, endedAtMs: number, location: string }>}
 *   startedAtMs, endedAtMs: without the time that curl itself needs to start; location: of the answer, or empty
 */
export async function curl(rig, subject, target, args = []) {
  const format =
    '{"status":%{http_code},"bytesIn":%{size_download},"bytesOut":%{size_upload},"seconds":%{time_total}}\\n%header{location}';
  const printed = await run('curl', [
    ...curlArgs(rig, subject, target),
    ...['--output', '/dev/null', '--write-out', format],
    ...args,
  ]);
  const endedAtMs = performance.now();
  const [line, location = ''] = printed.split('\n');
  const { seconds, ...result } = JSON.parse(line);
  return { ...result, startedAtMs: endedAtMs - seconds * 1000, endedAtMs, location };
}

/** Reads a blob and throws unless it matches its digest. */
export async function checkBlob(rig, subject, blob) {
  const child = spawn('curl', [...curlArgs(rig, subject, blob.path), '--fail'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const hash = createHash('sha256');
  for await (const chunk of child.stdout) hash.update(chunk);
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== blob.digest) throw new Error(`${subject.name} gave ${digest} instead of ${blob.digest}`);
}

function curlArgs(rig, subject, target) {
  return [
    ...['--silent', '--show-error', '--http1.1', '--ipv4', '--cacert', rig.caFile],
    ...['--header', `Authorization: ${rig.credentials.authorization}`],
    `https://localhost:${subject.port}${target}`,
  ];
}
