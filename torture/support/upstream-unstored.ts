import assert from 'node:assert/strict';
import { head as headOf, values } from '../../test/support/http-message.ts';
import type { Ending } from './faulty-upstream.ts';
import { inLanes } from './lane.ts';
import { describe, isRecorded, longestMs, requestOf, type UpstreamRig } from './upstream-rig.ts';

/** A head of upstream's, and what follows it. */
const wire = (lines: readonly string[], body = '') => [Buffer.from(headOf(...lines)), Buffer.from(body)];

/** After what must not be stored, the same manifest is asked for again, and is right. */
export async function runUnstored(rig: UpstreamRig): Promise<number> {
  const { upstream, frontDoor, exchanges, bystander } = rig;
  const exchange = exchanges.find(({ name }) => name === 'GET of a manifest, cached');
  if (!exchange) throw new Error('no manifest was recorded');
  const { head, body } = exchange;
  const good = Buffer.concat([head, body]);
  const faults: readonly (readonly [string, Buffer[], Ending])[] = [
    ['a body that is cut', [good.subarray(0, -1)], 'FIN'],
    ['a body that is reset', [good.subarray(0, -1)], 'RST'],
    ['another body than the digest says', [head, Buffer.from(body).fill(0x20, 10, 20)], 'stay'],
    [
      'a body in broken chunks',
      wire(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'], '3\r\nabcd\r\n0\r\n\r\n'),
      'stay',
    ],
    ['a 500', wire(['HTTP/1.1 500 Oh', 'Content-Length: 0']), 'stay'],
    ['a redirect', wire(['HTTP/1.1 307 There', 'Location: /x', 'Content-Length: 0']), 'stay'],
    ['silence', [head], 'silence'],
  ];
  const count = await inLanes(
    frontDoor,
    { lanes: 4, longestMs },
    faults,
    async (lane, [what, bytes, ending]) => {
      let isBroken = true;
      const id = upstream.plan(() =>
        isBroken ? { bytes, ending, readsBody: true } : { bytes: [good], ending: 'stay', readsBody: true },
      );
      await lane.ask(...requestOf(exchange, id));
      isBroken = false;
      for (const state of ['MISS', 'HIT']) {
        const seen = await lane.ask(...requestOf(exchange, id));
        assert.ok(isRecorded(seen, exchange), `after ${what}, asked again: the client saw ${describe(seen)}`);
        assert.deepEqual(values(seen, 'x-cache'), [state], `after ${what}`);
      }
      upstream.forget(id);
    },
  );
  upstream.closeIdle();
  bystander.check();
  return count;
}
