import assert from 'node:assert/strict';
import type { ConnectionOptions } from 'node:tls';
import { authorized, connectClient } from '../../test/support/raw-client.ts';
import type { Trial } from '../trial.ts';
import { connectResettable, eachAtOnce, longestMs, manifestType, type ClientRig } from './client-rig.ts';
import { within } from './within.ts';

type Leaving = { readonly at: number; readonly ending: 'FIN' | 'RST' };

/** Each place in so many bytes; some of them in the quick form. */
function leavings({ form, random }: ClientRig, length: number): Leaving[] {
  const stride = form === 'quick' ? 11 : 1;
  const phase = random.below(stride);
  return (['FIN', 'RST'] as const).flatMap((ending) =>
    Array.from({ length: length + 1 }, (_, at) => ({ at, ending })).filter(
      ({ at }) => at > length - 2 || (at + phase) % stride === 0,
    ),
  );
}

async function leave(rig: ClientRig, bytes: Buffer, { at, ending }: Leaving, what: string): Promise<void> {
  const client = await connectResettable(rig.frontDoor);
  client.send(bytes.subarray(0, at));
  if (ending === 'RST') {
    await new Promise((resolve) => setImmediate(resolve)); // so that the bytes are on their way
    client.reset();
    return;
  }
  client.socket.end();
  await within(longestMs, `${what}, ${ending} after ${at} bytes`, client.rest());
  client.leave();
}

/** Leaves in the middle of pushing a manifest: an incomplete one gets no tag. */
async function runCutPushes(rig: ClientRig): Promise<number> {
  const { repository, manifest, registry, bystander } = rig;
  const request = (tag: string) =>
    Buffer.concat([
      Buffer.from(
        authorized(
          `PUT /v2/${repository}/manifests/${tag}`,
          `Content-Type: ${manifestType}`,
          `Content-Length: ${manifest.length}`,
        ),
      ),
      manifest,
    ]);
  const name = ({ at, ending }: Leaving) => `cut-${String(at).padStart(5, '0')}-${ending}`;
  const { length } = request(name({ at: 0, ending: 'FIN' }));
  const cases = leavings(rig, length);
  const count = await eachAtOnce(8, cases, (each) => leave(rig, request(name(each)), each, 'a push'));
  const listed = await fetch(`${registry.url}/v2/${repository}/tags/list`);
  const { tags } = (await listed.json()) as { tags: string[] | null };
  const whole = cases.filter(({ at }) => at === length).map(name);
  const wrong = (tags ?? []).filter((tag) => tag.startsWith('cut-') && !whole.includes(tag));
  assert.deepEqual(wrong, [], 'tags of manifests that were not whole');
  bystander.check();
  return count;
}

/** Leaves in the middle of requesting a blob. */
async function runCutPulls(rig: ClientRig): Promise<number> {
  const bytes = Buffer.from(authorized(`GET ${rig.small.target}`));
  const count = await eachAtOnce(8, leavings(rig, bytes.length), (each) => leave(rig, bytes, each, 'a pull'));
  rig.bystander.check();
  return count;
}

/** Leaves in the middle of an answer, or of an upload. */
async function runCutBodies(rig: ClientRig): Promise<number> {
  const { frontDoor, large, repository, random, bystander, form } = rig;
  const numbers = Array.from({ length: { quick: 40, ci: 400, long: 4000 }[form] }, (_, i) => i);
  const count = await eachAtOnce(8, numbers, async (number) => {
    const dice = random.fork(number);
    const client = await connectResettable(frontDoor);
    const bytes = dice.pick([0, 1, 16384, dice.below(200_000), dice.below(2_000_000)]);
    if (dice.onceIn(2)) {
      client.send(authorized(`GET ${large.target}`));
      const { status } = await within(longestMs, 'the head of a download', client.responseHead());
      assert.equal(status, 200);
      await within(longestMs, 'a part of a download', client.reader.discard(bytes));
    } else {
      const framing = dice.onceIn(2) ? 'Content-Length: 9000000' : 'Transfer-Encoding: chunked';
      client.send(authorized(`POST /v2/${repository}/blobs/uploads/`, framing));
      if (framing.startsWith('T')) client.send(`${(9_000_000).toString(16)}\r\n`);
      client.send(Buffer.alloc(bytes, 'x'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (dice.onceIn(2)) client.reset();
    else client.leave();
  });
  bystander.check();
  return count;
}

/** It does not end when the other side does; Node knows this option of net.Socket here too. */
const halfOpen: ConnectionOptions & { readonly allowHalfOpen: boolean } = { allowHalfOpen: true };

/** Closes its side after the request: the answer comes, complete or cut. */
async function runHalfClosed({ frontDoor, small, bystander, form }: ClientRig): Promise<number> {
  const numbers = Array.from({ length: { quick: 20, ci: 200, long: 2000 }[form] }, (_, i) => i);
  const count = await eachAtOnce(8, numbers, async () => {
    const client = await connectClient(frontDoor, halfOpen);
    client.send(authorized(`GET ${small.target}`));
    client.socket.end();
    const rest = await within(longestMs, 'the answer to a half-closed client', client.rest());
    client.leave();
    // Node ends a connection whose client has ended its side; how far the answer is by then, chance decides. Its head says how much is missing.
    const bodyAt = rest.indexOf('\r\n\r\n') + 4;
    const body = rest.subarray(bodyAt);
    const isPart =
      rest.subarray(0, bodyAt).includes(`\r\nContent-Length: ${small.bytes.length}\r\n`) &&
      body.equals(small.bytes.subarray(0, body.length));
    assert.ok(rest.length === 0 || isPart, `a half-closed client got ${rest.toString('latin1', 0, 300)}`);
  });
  bystander.check();
  return count;
}

/** Clients that leave, at every stage. */
export function clientAborts(rig: ClientRig): Trial[] {
  return [
    { name: 'leaves after each byte of a pull', run: () => runCutPulls(rig) },
    { name: 'leaves after each byte of a push: no tag of half a manifest', run: () => runCutPushes(rig) },
    { name: 'leaves in the middle of large bodies, both ways', run: () => runCutBodies(rig) },
    { name: 'ends its own side and waits', run: () => runHalfClosed(rig) },
  ];
}
