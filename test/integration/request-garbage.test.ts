import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { digestOf } from '../support/cache-load.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { root } from '../support/processes.ts';
import { authorized, connectClient, type Response } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const type = 'application/vnd.oci.image.manifest.v1+json';
const manifest = `{"schemaVersion":2,"mediaType":"${type}"}`;
const digest = digestOf(manifest);
const blob = 'x'.repeat(1000);

async function answer(request: UpstreamRequest): Promise<void> {
  await request.body();
  const [method = '', target = ''] = request.startLine.split(' ');
  const [fields, body] = answerTo(method, target);
  // In one piece: the second of two would wait for the acknowledgement of the first.
  request.answer(head('HTTP/1.1 200 OK', ...fields) + (method === 'HEAD' ? '' : body));
}

function answerTo(method: string, target: string): [fields: string[], body: string] {
  if (method === 'PUT') return [[`Location: ${target}`, 'Content-Length: 0'], ''];
  if (!target.includes('/manifests/')) return [[`Content-Length: ${blob.length}`], blob];
  const length = `Content-Length: ${manifest.length}`;
  return [[`Content-Type: ${type}`, `Docker-Content-Digest: ${digest}`, length], manifest];
}

/** Not counted: meanwhile code is compiled, and connections are opened. */
const warmUp = 1500;
const counted = 2000;
/** What a request leaves behind costs more than the request: the heap grows until V8 looks at all of it. */
describe('requests are garbage when they are over', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let file: string;
  before(async () => {
    upstream = await startUpstream({ script: answer, keepsRequests: false });
    file = path.join(root, 'build', `old-generation-${process.pid}`);
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['cache.driver=memory', 'console.enabled=false', 'log.accessFile=/dev/null'],
      env: {
        NODE_OPTIONS: `--import=${pathToFileURL(`${root}test/support/old-generation.mjs`).href}`,
        OLD_GENERATION_FILE: file,
      },
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
    await rm(file, { force: true });
  });
  const grownBytes = async (): Promise<number> => {
    await rm(file, { force: true });
    frontDoor.process.kill('SIGUSR2');
    let text = '';
    await until('the program has said how much', async () => {
      text = await readFile(file, 'utf8').catch(() => '');
      return text !== '';
    });
    return Number(text);
  };

  // What may survive, in bytes. A request that something keeps leaves 5,000 to 20,000; one object with a hidden class of
  // its own some 300. A write opens a connection, where Node has some of those.
  for (const [what, request, cache, maxBytes] of [
    [
      'a manifest from the cache',
      authorized(`GET /v2/app/manifests/${digest}`, `Accept: ${type}`),
      'HIT',
      600,
    ],
    ['a small blob from upstream', authorized(`GET /v2/app/blobs/${digest}`), '', 800],
    [
      'the end of an upload',
      authorized(`PUT /v2/app/blobs/uploads/1?digest=${digest}`, 'Content-Length: 1000') + blob,
      '',
      2000,
    ],
  ] as const)
    test(what, async () => {
      const client = await connectClient(frontDoor);
      let response: Response | undefined;
      const send = async (times: number) => {
        for (let i = 0; i < times; i++) {
          client.send(request);
          response = await client.response(request.slice(0, 4).trim());
          assert.equal(response.status, 200);
        }
      };
      const count = async (): Promise<number> => {
        const before = await grownBytes();
        await send(counted);
        return ((await grownBytes()) - before) / counted;
      };
      await send(warmUp);
      // The program does other things as well: what requests leave, they leave each time.
      let each = await count();
      for (let more = 0; each >= maxBytes && more < 2; more++) each = Math.min(each, await count());
      client.leave();
      assert.equal(response && values(response, 'X-Cache').join(), cache);
      assert.ok(each < maxBytes, `${Math.round(each)} bytes of a request survived, ${maxBytes} may`);
    });
});
