import assert from 'node:assert/strict';
import { chunked } from '../../test/support/http-message.ts';
import { anonymous, authorized, connectClient } from '../../test/support/raw-client.ts';
import type { Trial } from '../trial.ts';
import { eachAtOnce, longestMs, manifestType, type ClientRig } from './client-rig.ts';
import { createLane } from './lane.ts';
import { within } from './within.ts';

/** Requests that are refused, and whether the connection must end because what follows is not to be believed. */
function refusals({
  repository,
}: ClientRig): (readonly [what: string, status: number, ends: boolean, bytes: string])[] {
  const upload = `POST /v2/${repository}/blobs/uploads/`;
  const blob = `/v2/${repository}/blobs/x`;
  const lengths = [
    '-1',
    '+5',
    '5,5',
    '5, 6',
    '5 5',
    '0x5',
    '1e1',
    '5.0',
    '18446744073709551616',
    '9'.repeat(30),
    '',
    '5\x00',
  ];
  return [
    ['GET with a body', 400, true, `${authorized(`GET ${blob}`, 'Content-Length: 5')}hello`],
    ['HEAD with a body', 400, true, `${authorized(`HEAD ${blob}`, 'Content-Length: 5')}hello`],
    [
      'GET with a chunked body',
      411,
      true,
      authorized(`GET ${blob}`, 'Transfer-Encoding: chunked') + chunked('hello'),
    ],
    [
      'DELETE with a chunked body',
      411,
      true,
      authorized(`DELETE ${blob}`, 'Transfer-Encoding: chunked') + chunked('hello'),
    ],
    [
      'OPTIONS with a chunked body',
      411,
      true,
      authorized(`OPTIONS ${blob}`, 'Transfer-Encoding: chunked') + chunked('hello'),
    ],
    ['two lengths', 400, true, `${authorized(upload, 'Content-Length: 5', 'Content-Length: 6')}hello`],
    [
      'a length and chunks',
      400,
      true,
      authorized(upload, 'Content-Length: 5', 'Transfer-Encoding: chunked') + chunked('hello'),
    ],
    ...lengths.map(
      (length) =>
        [
          `Content-Length: ${JSON.stringify(length)}`,
          400,
          true,
          `${authorized(upload, `Content-Length: ${length}`)}hello`,
        ] as const,
    ),
    ['no HTTP', 400, true, 'hello\r\n\r\n'],
    ['HTTP/2 in clear', 400, true, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['an odd Expect', 417, false, authorized(`GET ${blob}`, 'Expect: the-impossible')],
    ['no credentials', 401, false, anonymous(`GET ${blob}`)],
    ['no credentials, with a body', 401, false, `${anonymous(upload, 'Content-Length: 5')}hello`],
    ['a path with dots', 400, true, authorized(`GET /v2/${repository}/../x`)],
    ['outside', 404, false, authorized('GET /elsewhere')],
    ['an unknown method', 405, false, authorized(`PROPFIND ${blob}`)],
    ['CONNECT', 405, true, authorized('CONNECT example.com:443')],
    ['what is not there', 404, false, authorized(`GET /v2/${repository}/manifests/none`)],
    [
      'a manifest that is too large',
      413,
      true,
      authorized(`PUT /v2/${repository}/manifests/x`, 'Content-Length: 99999999'),
    ],
  ];
}

/** After an error the connection either ends, as announced, or the next answer is the right one. */
async function runRefusals(rig: ClientRig): Promise<number> {
  const { frontDoor, small, bystander, form } = rig;
  const rounds = { quick: 1, ci: 20, long: 200 }[form];
  const cases = Array.from({ length: rounds }, () => refusals(rig)).flat();
  const next = authorized(`GET ${small.target}`);
  const count = await eachAtOnce(4, cases, async ([what, status, ends, bytes]) => {
    const method = /^[A-Z]+/.exec(bytes)?.[0];
    // The next request at once behind it: where the connection ends, it must not be acted upon.
    for (const isPipelined of [false, true]) {
      const client = await connectClient(frontDoor);
      client.send(isPipelined ? bytes + next : bytes);
      const response = await within(longestMs, `the answer to ${what}`, client.response(method));
      assert.equal(response.status, status, what);
      const closes = /\r\nConnection: close\r\n/i.test(response.head);
      if (ends) assert.ok(closes, `${what}: the connection must end`);
      if (closes) {
        const rest = await within(longestMs, `the end after ${what}`, client.rest());
        assert.equal(rest.length, 0, `${what}: something came after the end`);
      } else {
        if (!isPipelined) client.send(next);
        const answer = await within(longestMs, `the answer after ${what}`, client.response());
        assert.ok(
          answer.status === 200 && answer.body.equals(small.bytes),
          `after ${what}: ${answer.startLine}`,
        );
      }
      client.leave();
    }
  });
  bystander.check();
  return 2 * count;
}

/** Content-Length and body differ: nothing of it becomes a tag, and what is too much is no request. */
async function runLies(rig: ClientRig): Promise<number> {
  const { frontDoor, registry, repository, manifest, small, bystander, form } = rig;
  const type = `Content-Type: ${manifestType}`;
  const put = (tag: string, length: number) =>
    authorized(`PUT /v2/${repository}/manifests/${tag}`, type, `Content-Length: ${length}`);
  const distances = form === 'quick' ? [1, 2, 100] : Array.from({ length: 100 }, (_, i) => i + 1);
  await eachAtOnce(8, distances, async (distance) => {
    const tooFew = await connectClient(frontDoor);
    tooFew.send(put(`few-${distance}`, manifest.length + distance), manifest);
    tooFew.socket.end();
    const rest = await within(longestMs, 'the end of a push that is too short', tooFew.rest());
    tooFew.leave();
    assert.doesNotMatch(rest.toString('latin1', 0, 12), /^HTTP\/1\.1 2/, `a push ${distance} bytes short`);
    const lane = createLane(frontDoor, longestMs);
    const seen = await lane.ask(put(`much-${distance}`, manifest.length - distance), manifest);
    lane.leave();
    // Of what is too much it is known at once that it is no request: then no answer may come in its place.
    assert.ok(
      seen.status === 400 || seen.status === 0,
      `a push that says ${distance} bytes too few: ${seen.status}`,
    );
  });
  const listed = await fetch(`${registry.url}/v2/${repository}/tags/list`);
  const { tags } = (await listed.json()) as { tags: string[] | null };
  assert.deepEqual(
    (tags ?? []).filter((tag) => /^(few|much)-/.test(tag)),
    [],
    'tags of manifests that were not whole',
  );
  // What follows a body that is longer than it was said to be is read as a request, with its own credentials, or as none.
  const client = await connectClient(frontDoor);
  const inside = anonymous(`GET ${small.target}`);
  client.send(`${authorized(`POST /v2/${repository}/blobs/uploads/`, 'Content-Length: 0')}${inside}`);
  assert.equal((await within(longestMs, 'the first answer', client.response('POST'))).status, 202);
  assert.equal((await within(longestMs, 'the second answer', client.response())).status, 401);
  client.leave();
  bystander.check();
  return 2 * distances.length + 1;
}

/** Clients whose requests contradict themselves. */
export function clientLies(rig: ClientRig): Trial[] {
  return [
    { name: 'goes on with a connection after an error', run: () => runRefusals(rig) },
    { name: 'lies about Content-Length: nothing is stored', run: () => runLies(rig) },
  ];
}
