import assert from 'node:assert/strict';
import { head as headOf } from '../../test/support/http-message.ts';
import { authorized, connectClient, type RawClient } from '../../test/support/raw-client.ts';
import type { Form, Trial } from '../trial.ts';
import type { AnswerTimes } from './answer-times.ts';
import { createLane, inLanes } from './lane.ts';
import {
  describe,
  isBadGateway,
  isRecorded,
  longestMs,
  requestOf,
  summarize,
  timed,
  type UpstreamRig,
} from './upstream-rig.ts';
import { within } from './within.ts';

const uploadBytes = 3 * 1024 * 1024;
const piece = Buffer.alloc(64 * 1024, 'upload ');

/** Upstream's behaviour after so many bytes of an upload. */
type Early = {
  readonly afterBytes: number;
  /** 0: it does not answer. */
  readonly status: number;
  readonly ending: 'FIN' | 'RST' | 'silence' | 'drain' | 'half-close';
  readonly isChunked: boolean;
};

function* earlies(form: Form): Generator<Early> {
  for (const afterBytes of form === 'quick' ? [0, 70_000] : [0, 1, 70_000, 1_500_000])
    for (const status of [0, 413, 401, 500, 202])
      for (const ending of ['FIN', 'RST', 'silence', 'drain', 'half-close'] as const)
        for (const isChunked of [false, true]) yield { afterBytes, status, ending, isChunked };
}

/** Sends a body as fast as it is read, until all is sent or the connection is closed. */
async function sendUpload({ socket }: RawClient, isChunked: boolean): Promise<void> {
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const head = `${piece.length.toString(16)}\r\n`;
  for (let left = uploadBytes; left > 0 && !socket.destroyed; left -= piece.length) {
    if (isChunked) socket.write(head);
    const goesOn = socket.write(piece);
    if (isChunked) socket.write('\r\n');
    if (!goesOn)
      await Promise.race([gone, new Promise<void>((resolve) => socket.once('drain', () => resolve()))]);
  }
  if (isChunked && !socket.destroyed) socket.write('0\r\n\r\n');
}

/** The client goes on sending, as most do, and must be able to read upstream's answer. */
async function runEarly(rig: UpstreamRig, times: AnswerTimes): Promise<number> {
  const { upstream, frontDoor, bystander } = rig;
  const target = 'blobs/uploads/1';
  const attempt = async (_: unknown, early: Early) => {
    const { afterBytes, status, ending, isChunked } = early;
    const answer = headOf(`HTTP/1.1 ${status} Early`, 'Content-Length: 3') + 'abc';
    const id = upstream.plan({
      bytes: status === 0 ? [] : [Buffer.from(answer)],
      ending: ending === 'drain' ? 'silence' : ending === 'half-close' ? 'FIN' : ending,
      readsBody: afterBytes,
      drains: ending === 'drain' || ending === 'half-close',
    });
    const client = await connectClient(frontDoor);
    const startedAtMs = performance.now();
    const framing = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${uploadBytes}`;
    client.send(authorized(`PATCH /v2/case-${id}/${target}`, framing));
    void sendUpload(client, isChunked);
    const what = `an upload, ${JSON.stringify(early)}`;
    const response = await within(longestMs, what, client.response('PATCH')).finally(() => client.leave());
    const saw = `${what}: the client saw ${response.startLine} with ${response.body.length} bytes, ${response.complete ? '' : 'not '}whole`;
    assert.ok(response.complete, saw);
    const kind = status === 0 || response.status !== status ? 'error' : 'answer';
    const isSilent = ending === 'silence' || ending === 'drain';
    times.add(
      summarize({ kind, status: response.status }),
      performance.now() - startedAtMs,
      isSilent && status === 0,
    );
    if (status === 0) {
      assert.equal(response.status, isSilent ? 504 : 502, saw);
      assert.match(response.body.toString(), /"detail":"request id \w+"/, saw);
    } else {
      // A reset can overtake what was sent before it.
      assert.ok(response.status === status || (ending === 'RST' && response.status === 502), saw);
      if (response.status === status) assert.equal(response.body.toString(), 'abc', saw);
    }
    assert.equal(upstream.seen(id, 'PATCH'), 1, what);
    upstream.forget(id);
  };
  const rounds = { quick: 1, ci: 3, long: 20 }[rig.form];
  let count = 0;
  for (let round = 0; round < rounds; round++)
    count += await inLanes(frontDoor, { lanes: 16, longestMs }, earlies(rig.form), attempt);
  upstream.closeIdle();
  bystander.check();
  return count;
}

/** Upstream stops listening, then listens again. */
async function runRefusals(rig: UpstreamRig): Promise<number> {
  const { upstream, frontDoor, exchanges, bystander } = rig;
  // A connection that is kept open would still be used for a GET.
  const writes = exchanges.filter(({ method }) => method !== 'GET' && method !== 'HEAD');
  const lane = createLane(frontDoor, longestMs);
  const plan = (exchange: (typeof writes)[number]) =>
    upstream.plan({ bytes: [exchange.head, exchange.body], ending: 'stay', readsBody: true });
  const rounds = { quick: 10, ci: 100, long: 1000 }[rig.form];
  try {
    for (let round = 0; round < rounds; round++) {
      // A GET is refused, too, if the HEAD before a push has the kept connection just then.
      await bystander.aside(async () => {
        const listenAgain = upstream.refuse();
        try {
          for (const exchange of writes) {
            const seen = await lane.ask(...requestOf(exchange, plan(exchange)));
            assert.ok(isBadGateway(seen), `${exchange.name}, refused: the client saw ${describe(seen)}`);
          }
        } finally {
          await listenAgain();
        }
      });
      for (const exchange of writes) {
        const seen = await lane.ask(...requestOf(exchange, plan(exchange)));
        assert.ok(
          isRecorded(seen, exchange),
          `${exchange.name}, after that: the client saw ${describe(seen)}`,
        );
      }
    }
  } finally {
    lane.leave();
  }
  bystander.check();
  return 2 * rounds * writes.length;
}

/** Upstream's faults before and while a body is sent to it. */
export function upstreamUploads(rig: UpstreamRig): Trial[] {
  return [
    timed('answers before the upload ends, and ends of all kinds: what upstream said can be read', (times) =>
      runEarly(rig, times),
    ),
    { name: 'refuses connections, and takes them again', run: () => runRefusals(rig) },
  ];
}
