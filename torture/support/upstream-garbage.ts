import assert from 'node:assert/strict';
import { authorized } from '../../test/support/raw-client.ts';
import type { Ending } from './faulty-upstream.ts';
import { inLanes } from './lane.ts';
import { describe, longestMs, requestOf, type UpstreamRig } from './upstream-rig.ts';

/** Bytes that only chance has made, and recorded answers with a few bytes changed: never a hang, and the next answer is right. */
export async function runGarbage(rig: UpstreamRig, count: number): Promise<number> {
  const { random, upstream, frontDoor, exchanges, bystander } = rig;
  const [good] = upstream.healthy;
  if (!good) throw new Error('nothing is healthy');
  const numbers = Array.from({ length: count }, (_, i) => i);
  const done = await inLanes(frontDoor, { lanes: 8, longestMs }, numbers, async (lane, number) => {
    const dice = random.fork(number);
    const exchange = dice.pick(exchanges);
    const bytes = Buffer.concat([exchange.head, exchange.body]);
    const isMutated = !dice.onceIn(4);
    const sent = isMutated
      ? mutate(bytes, (limit) => dice.below(limit))
      : Buffer.from(Array.from({ length: dice.below(300) }, () => dice.below(256)));
    const ending = dice.pick<Ending>(['FIN', 'RST']);
    const id = upstream.plan({ bytes: [sent], ending, readsBody: true });
    const what = `${exchange.name}, garbage of case ${number} of seed ${random.seed}, then ${ending}`;
    const seen = await lane.ask(...requestOf(exchange, id));
    // What upstream may have meant is open, but what the client got is one answer of HTTP, or a cut one.
    if (seen.kind === 'error') assert.equal(seen.status, 502, what);
    if (!isMutated) assert.ok(!(seen.kind === 'answer'), `${what}: the client saw ${describe(seen)}`);
    for (const [name, value] of seen.headers)
      assert.match(`${name}: ${value}`, /^[!#$%&'*+.^_`|~\w-]+: [\t\x20-\x7e\x80-\xff]*$/, what);
    upstream.forget(id);
    const next = await lane.ask(authorized(`GET ${good.target}`));
    assert.ok(
      next.status === 200 && next.body.equals(good.bytes),
      `${what}: the next answer on that connection was ${describe(next)}`,
    );
  });
  upstream.closeIdle();
  bystander.check();
  return done;
}

/** Changes, drops, doubles or inserts one to three bytes. */
function mutate(bytes: Buffer, below: (limit: number) => number): Buffer {
  let mutated = bytes;
  for (let left = 1 + below(3); left > 0; left--) {
    const at = below(mutated.length);
    const [before, after] = [mutated.subarray(0, at), mutated.subarray(at)];
    const byte = Buffer.from([below(256)]);
    switch (below(4)) {
      case 0:
        mutated = Buffer.concat([before, byte, after.subarray(1)]);
        break;
      case 1:
        mutated = Buffer.concat([before, after.subarray(1)]);
        break;
      case 2:
        mutated = Buffer.concat([before, after.subarray(0, 1), after]);
        break;
      default:
        mutated = Buffer.concat([before, byte, after]);
    }
  }
  return mutated;
}
