import { run } from '../src/quickstart/step.mjs';

/**
 * Sends requests with ab (ApacheBench), each over a connection of its own, which is not resumed: ab keeps no sessions.
 * @param {{ name: string, port: number }} subject
 * @param {{ target: string, atOnce: number, limit: readonly string[], headers?: Record<string, string> }} options
 *   limit: ab's flags for how many requests, or for how long
 * @returns {Promise<{ completed: number, refused: number, seconds: number, protocol: string }>}
 *   refused: with another status than 2xx; throws if a request failed
 */
export async function runAb(subject, { target, atOnce, limit, headers = {} }) {
  const all = Object.entries({ 'User-Agent': 'containerd/1.7.24', ...headers });
  const printed = await run('ab', [
    // -l: answers may differ in length, those that name the request do.
    ...['-q', '-l', ...limit, '-c', String(atOnce)],
    ...all.flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    `https://localhost:${subject.port}${target}`,
  ]);
  const number = (field) => Number(new RegExp(`^${field}: +([\\d.]+)`, 'm').exec(printed)?.[1] ?? 0);
  const completed = number('Complete requests');
  const failed = number('Failed requests');
  if (completed === 0 || failed > 0)
    throw new Error(`${subject.name}: of ${completed} requests ${failed} failed`);
  return {
    completed,
    refused: number('Non-2xx responses'),
    seconds: number('Time taken for tests'),
    protocol: /^SSL\/TLS Protocol: +(.*)$/m.exec(printed)?.[1] ?? 'unknown',
  };
}
