import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFrontDoor } from '../support/front-door.ts';
import { anonymous, connectClient } from '../support/raw-client.ts';

const connections = 20;
const rounds = 30;
/** Half of what limits.pipelinedRequests allows: an answer that has arrived may still count. */
const requestsAtOnce = 8;

test('no line of several busy workers is torn or lost, to the last', { timeout: 360_000 }, async () => {
  const frontDoor = await startFrontDoor({ upstreamUrl: 'http://127.0.0.1:9', set: ['workers=3'] });
  const paths = new Set<string>();
  await Promise.all(
    Array.from({ length: connections }, async (_, number) => {
      const client = await connectClient(frontDoor);
      for (let round = 0; round < rounds; round += 1) {
        // Longer than what a pipe takes whole, with a User-Agent that is cut to 512 characters.
        const asked = Array.from(
          { length: requestsAtOnce },
          (_, i) => `/v2/${number}-${round}-${i}/${'x'.repeat(400)}`,
        );
        client.send(asked.map((path) => anonymous(`GET ${path}`, `User-Agent: ${'ü'.repeat(600)}`)).join(''));
        for (const path of asked) {
          assert.equal((await client.response()).status, 401);
          paths.add(path);
        }
      }
      client.leave();
    }),
  );
  frontDoor.process.kill('SIGTERM');
  await frontDoor.ended;
  const logged = frontDoor.log.filter(({ msg }) => msg === 'request').map((line) => line['path'] as string);
  assert.equal(logged.length, connections * rounds * requestsAtOnce);
  assert.deepEqual(new Set(logged), paths);
  assert.equal(frontDoor.log.at(-1)?.msg, 'stopped');
  await frontDoor.stop();
});
