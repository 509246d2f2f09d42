import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startFrontDoor } from '../support/front-door.ts';
import { anonymous, connectClient } from '../support/raw-client.ts';

test('a log that nobody reads stops neither the service nor its end', { timeout: 240_000 }, async () => {
  const frontDoor = await startFrontDoor({ upstreamUrl: 'http://127.0.0.1:9' });
  frontDoor.process.stdout?.pause();
  const client = await connectClient(frontDoor);
  // Far more lines than a pipe holds.
  for (let i = 0; i < 2000; i++) {
    client.send(anonymous('GET /v2/x', `User-Agent: ${'x'.repeat(500)}`));
    assert.equal((await client.response()).status, 401);
  }
  client.leave();
  frontDoor.process.kill('SIGTERM');
  const signal = AbortSignal.timeout(10_000);
  await once(frontDoor.process, 'exit', { signal });
  frontDoor.process.stdout?.resume();
  await frontDoor.stop();
});
