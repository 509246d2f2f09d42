import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { authorized, connectClient, type RawClient } from '../../test/support/raw-client.ts';
import type { Trial } from '../trial.ts';
import { eachAtOnce, longestMs, manifestType, type ClientRig } from './client-rig.ts';
import { within } from './within.ts';

const times = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Sends byte by byte while the connection is open. */
async function trickle({ socket }: RawClient, bytes: Buffer, pauseMs: number): Promise<void> {
  for (let at = 0; at < bytes.length && socket.writable; at++) {
    socket.write(bytes.subarray(at, at + 1));
    await delay(pauseMs);
  }
}

/** A slow head gets 408; a slow body is accepted. */
async function runTricklers(rig: ClientRig): Promise<number> {
  const { frontDoor, repository, manifest, bystander, form, limits } = rig;
  const clients = times({ quick: 10, ci: 15, long: 40 }[form]);
  const heads = eachAtOnce(clients.length, clients, async () => {
    const client = await connectClient(frontDoor);
    const bytes = Buffer.from(authorized(`GET /v2/${repository}/tags/list`, `X-Long: ${'x'.repeat(1000)}`));
    void trickle(client, bytes, 25);
    const { status } = await within(longestMs, 'the answer to a head that trickles', client.response());
    assert.equal(status, 408);
    assert.equal((await within(longestMs, 'the end after a 408', client.rest())).length, 0);
    client.leave();
  });
  // In all it takes longer than the limit of silence.
  const pauseMs = (1.5 * limits.idleTimeoutMs) / manifest.length;
  const bodies = eachAtOnce(clients.length, clients, async (number) => {
    const client = await connectClient(frontDoor);
    const type = `Content-Type: ${manifestType}`;
    const target = `/v2/${repository}/manifests/slow-${number}`;
    client.send(authorized(`PUT ${target}`, type, `Content-Length: ${manifest.length}`));
    void trickle(client, manifest, pauseMs);
    const { status } = await within(4 * longestMs, 'the answer to a body that trickles', client.response());
    assert.equal(status, 201, 'a push that trickles');
    client.leave();
  });
  await Promise.all([heads, bodies]);
  bystander.check();
  return 2 * clients.length;
}

/** A slow reader gets the whole answer; one that stops reading is cut after the limit. */
async function runReaders(rig: ClientRig): Promise<number> {
  const { frontDoor, large, bystander, form, random, limits } = rig;
  const clients = times({ quick: 5, ci: 10, long: 20 }[form]);
  const wanted = createHash('sha256').update(large.bytes).digest('hex');
  const slow = eachAtOnce(2, times(2), async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized(`GET ${large.target}`));
    await client.responseHead();
    const hash = createHash('sha256');
    for (let left = large.bytes.length, reads = 0; left > 0; reads++) {
      const piece = await within(longestMs, 'a slow download', client.reader.some());
      assert.ok(piece, `a slow download was cut ${left} bytes before its end`);
      hash.update(piece);
      left -= piece.length;
      if (reads % 200 === 0) await delay(limits.idleTimeoutMs / 10);
    }
    assert.equal(hash.digest('hex'), wanted, 'a slow download');
    client.leave();
  });
  const stopped = eachAtOnce(clients.length, clients, async (number) => {
    const agent = `stops-reading/${number}-${random.below(2 ** 31)}`;
    const client = await connectClient(frontDoor);
    client.send(authorized(`GET ${large.target}`, `User-Agent: ${agent}`));
    await client.responseHead();
    const ended = frontDoor.logged(({ userAgent }) => userAgent === agent);
    const { bytesOut } = await within(longestMs, 'the end of a download that nobody reads', ended);
    assert.ok(Number(bytesOut) < large.bytes.length, 'a download that nobody read was not cut');
    client.leave();
  });
  await Promise.all([slow, stopped]);
  bystander.check();
  return 2 + clients.length;
}

/** Stops sending in the middle of a head, of a body, and between requests. */
async function runSilent(rig: ClientRig): Promise<number> {
  const { frontDoor, repository, bystander, form } = rig;
  const clients = times({ quick: 20, ci: 30, long: 60 }[form]);
  const upload = authorized(`POST /v2/${repository}/blobs/uploads/`, 'Content-Length: 1000');
  const beginnings = ['', 'GET', 'GET / HTTP/1.1\r\nHost', upload, `${upload}abc`];
  const count = await eachAtOnce(clients.length, clients, async (number) => {
    const client = await connectClient(frontDoor);
    client.send(beginnings[number % beginnings.length] ?? '');
    const rest = await within(longestMs, 'the end of a silent connection', client.rest());
    // 202: the registry does not wait for this body.
    assert.ok(
      rest.length === 0 || /^HTTP\/1\.1 (202|408|504) /.test(rest.toString()),
      rest.toString('latin1', 0, 200),
    );
    client.leave();
  });
  bystander.check();
  return count;
}

/** Many requests before the first answer: answered in order, each rightly; one too many closes the connection. */
async function runPipelines(rig: ClientRig): Promise<number> {
  const { frontDoor, small, repository, bystander, form, random } = rig;
  const rounds = times({ quick: 15, ci: 400, long: 4000 }[form]);
  const count = await eachAtOnce(4, rounds, async (number) => {
    const dice = random.fork(number);
    const depth = 1 + dice.below(16);
    const kinds = times(depth).map(() => dice.pick(['blob', 'missing', 'HEAD', 'start'] as const));
    const requests = {
      blob: authorized(`GET ${small.target}`),
      missing: authorized(`GET /v2/${repository}/manifests/none-${number}`),
      HEAD: authorized(`HEAD ${small.target}`),
      start: authorized(`POST /v2/${repository}/blobs/uploads/`, 'Content-Length: 0'),
    };
    const client = await connectClient(frontDoor);
    const bytes = Buffer.from(kinds.map((kind) => requests[kind]).join(''));
    const cut = dice.below(bytes.length);
    client.send(bytes.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    client.send(bytes.subarray(cut));
    for (const [i, kind] of kinds.entries()) {
      const what = `answer ${i + 1} of ${kinds.join(', ')} (case ${number} of seed ${random.seed})`;
      const answer = await within(longestMs, what, client.response(kind === 'HEAD' ? 'HEAD' : 'GET'));
      assert.equal(answer.status, { blob: 200, missing: 404, HEAD: 200, start: 202 }[kind], what);
      if (kind === 'blob') assert.ok(answer.body.equals(small.bytes), what);
    }
    client.leave();
  });
  const client = await connectClient(frontDoor);
  client.send(authorized(`GET ${small.target}`).repeat(200));
  const rest = await within(longestMs, 'the end after 200 requests at once', client.rest());
  assert.ok(rest.length < 200 * small.bytes.length, '200 requests at once were all answered');
  client.leave();
  bystander.check();
  return count + 1;
}

/** Clients that are slow, silent, or too fast. */
export function clientPace(rig: ClientRig): Trial[] {
  return [
    {
      name: 'all at once: sends byte by byte (408 for a head, a body arrives), reads slowly (gets all), stops reading, goes silent (is cut)',
      run: async () => {
        let count = 0;
        for (let round = 0; round < { quick: 1, ci: 3, long: 30 }[rig.form]; round++) {
          const counts = await Promise.all([runTricklers(rig), runReaders(rig), runSilent(rig)]);
          count += counts.reduce((sum, each) => sum + each, 0);
        }
        return count;
      },
    },
    { name: 'pipelines: answers in order, each the right one', run: () => runPipelines(rig) },
  ];
}
