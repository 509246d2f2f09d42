import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createContainersClient } from '../../support/clients-containers.ts';
import type { Client } from '../../support/clients.ts';
import { password, startFrontDoor, user, type FrontDoor, type LogLine } from '../../support/front-door.ts';
import { chunked, head, values } from '../../support/http-message.ts';
import { createImage, type Image } from '../../support/image.ts';
import { anonymous, authorized, clientHost, connectClient, exchange } from '../../support/raw-client.ts';
import { readMemory } from '../../support/process-status.ts';
import { freePort } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
  type UpstreamScript,
} from '../../support/scripted-upstream.ts';
import { wholeLog } from '../../support/whole-log.ts';

const digestOf = (bytes: string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const isAudit = ({ msg }: LogLine) => msg === 'push' || msg === 'delete';
/** The audit line of a repository's, less what no test can know. */
const auditOf = async (frontDoor: FrontDoor, matches: (line: LogLine) => boolean) => {
  const line = await frontDoor.logged((entry) => isAudit(entry) && matches(entry));
  assert.match(line['requestId'] as string, /^[0-9a-f]{32}$/);
  assert.ok((line['durationMs'] as number) >= 0);
  const unknowable = ['requestId', 'durationMs', 'time', 'pid', 'hostname'];
  return Object.fromEntries(Object.entries(line).filter(([key]) => !unknowable.includes(key)));
};
const common = { level: 30, user, client: '127.0.0.1' };
const push = { ...common, msg: 'push' };

describe(
  'the audit of what a real client does',
  { skip: unlessInstalled('docker-registry', 'skopeo', 'tar'), timeout: 360_000 },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    const images: Image[] = [];
    const clients: Client[] = [];
    before(async () => {
      registry = await startRegistry();
      frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: ['workers=2'] });
    });
    after(async () => {
      for (const client of clients) await client.cleanUp();
      for (const image of images) await image.remove();
      await frontDoor.stop();
      await registry.stop();
    });
    const pushImage = async (repositoryTag: string) => {
      const image = await createImage({ layerCount: 2, layerBytes: 50_000 });
      images.push(image);
      const client = await createContainersClient('skopeo', {
        host: `localhost:${frontDoor.port}`,
        ca: frontDoor.ca,
        image,
      });
      clients.push(client);
      const access = { loggedIn: true, trusting: true };
      assert.equal((await client.login(password, access)).code, 0);
      const done = await client.push(repositoryTag, access);
      assert.equal(done.code, 0, done.stderr);
    };
    const stored = async () => {
      const { digest } = await registry.manifest('team/app', '1');
      const answer = await fetch(`${registry.url}/v2/team/app/manifests/${digest}`, {
        headers: { Accept: '*/*, application/vnd.docker.distribution.manifest.v2+json' },
      });
      const text = await answer.text();
      const manifest = JSON.parse(text) as { config: { size: number }; layers: { size: number }[] };
      const sizes = [manifest.config, ...manifest.layers].map(({ size }) => size);
      return { digest, bytes: text.length, imageBytes: sizes.reduce((sum, size) => sum + size, 0) };
    };
    const pushed = { ...push, repository: 'team/app', tag: '1', status: 201, result: 'success' };

    test('one line for a push, and one for the push over it with the old digest', async () => {
      await pushImage('team/app:1');
      const first = await stored();
      assert.ok(first.imageBytes > 50_000);
      assert.deepEqual(await auditOf(frontDoor, (line) => line['digest'] === first.digest), {
        ...pushed,
        ...first,
        oldDigest: null,
      });
      await pushImage('team/app:1');
      const second = await stored();
      assert.notEqual(second.digest, first.digest);
      assert.deepEqual(await auditOf(frontDoor, (line) => line['digest'] === second.digest), {
        ...pushed,
        ...second,
        oldDigest: first.digest,
      });
      assert.equal((await wholeLog(frontDoor)).filter(isAudit).length, 2);
    });

    test('one for each delete, of what it names', async () => {
      const deleted = { ...common, msg: 'delete', repository: 'team/app' };
      const { digest } = await stored();
      const { layerDigests } = await registry.manifest('team/app', '1');
      assert.equal((await exchange(frontDoor, authorized('DELETE /v2/team/app/manifests/1'))).status, 202);
      assert.deepEqual(await auditOf(frontDoor, ({ msg }) => msg === 'delete'), {
        ...deleted,
        object: 'tag',
        tag: '1',
        digest,
        status: 202,
        result: 'success',
      });
      for (const [path, object, named] of [
        [`manifests/${digest}`, 'manifest', digest],
        [`blobs/${layerDigests[0] ?? ''}`, 'blob', layerDigests[0]],
      ] as const) {
        assert.equal((await exchange(frontDoor, authorized(`DELETE /v2/team/app/${path}`))).status, 202);
        assert.deepEqual(await auditOf(frontDoor, (line) => line['object'] === object), {
          ...deleted,
          object,
          tag: null,
          digest: named,
          status: 202,
          result: 'success',
        });
      }
    });
  },
);

describe('the audit', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let onHead: UpstreamScript;
  let onWrite: UpstreamScript;
  const created: UpstreamScript = async (request) => {
    await request.body();
    request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
  };
  const old = digestOf('old');
  before(async () => {
    upstream = await startUpstream({
      script: (request: UpstreamRequest) =>
        (request.startLine.startsWith('HEAD ') ? onHead : onWrite)(request),
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['upstream.username=up', 'limits.manifestBytes=1MiB'],
      env: { TIDEGATE_UPSTREAM_PASSWORD: 'secret' },
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  let count = 0;
  /** Pushes a manifest to a repository of its own; gives the answer's status, the audit line, and what upstream got. */
  const pushTo = async (
    {
      reference = '1',
      lines = [],
      body = '{}',
    }: { reference?: string; lines?: string[]; body?: string } = {},
    send = async (...bytes: string[]) => (await exchange(frontDoor, ...bytes)).status,
  ) => {
    const repository = `team/app-${++count}`;
    const path = `/v2/${repository}/manifests/${reference}`;
    const status = await send(authorized(`PUT ${path}`, `Content-Length: ${body.length}`, ...lines), body);
    const line = await auditOf(frontDoor, (entry) => entry['repository'] === repository);
    const received = upstream.requests.filter(({ startLine }) => startLine.includes(`/v2/${repository}/`));
    assert.equal(
      (await wholeLog(frontDoor)).filter((entry) => isAudit(entry) && entry['repository'] === repository)
        .length,
      1,
    );
    return { repository, status, line, received };
  };

  test('upstream is asked for the old digest first, with its own password and for every kind of manifest', async () => {
    onHead = (request) =>
      request.answer(head('HTTP/1.1 200 OK', `Docker-Content-Digest: ${old}`, 'Content-Length: 99'));
    onWrite = created;
    const { repository, status, line, received } = await pushTo({
      lines: ['X-Request-Id: build-7', 'Accept: text/plain'],
      body: '{"config":{"size":1},"layers":[{"size":20}]}',
    });
    assert.equal(status, 201);
    assert.deepEqual(line, {
      ...push,
      clientRequestId: 'build-7',
      repository,
      tag: '1',
      digest: digestOf('{"config":{"size":1},"layers":[{"size":20}]}'),
      oldDigest: old,
      bytes: 44,
      imageBytes: 21,
      status: 201,
      result: 'success',
    });
    const [asked, written] = received;
    assert.ok(asked && written && received.length === 2);
    assert.equal(asked.startLine, `HEAD /v2/${repository}/manifests/1 HTTP/1.1`);
    assert.match(values(asked, 'accept').join(), /oci\.image\.index.*manifest\.v2\+json.*\*\/\*/);
    assert.deepEqual(values(asked, 'host'), [clientHost]);
    for (const request of [asked, written]) {
      assert.deepEqual(values(request, 'authorization'), [
        `Basic ${Buffer.from('up:secret').toString('base64')}`,
      ]);
      assert.deepEqual(values(request, 'x-request-id'), ['build-7']);
    }
    assert.deepEqual(values(asked, 'traceparent'), values(written, 'traceparent'));
  });

  for (const [what, answer] of [
    ['refuses', (request) => request.answer(head('HTTP/1.1 500 No', 'Content-Length: 0'))],
    ['breaks off', (request) => request.socket.destroy()],
    ['talks nonsense', (request) => request.answer('nonsense\r\n\r\n')],
    ['says nothing', () => {}],
    [
      'names something that is no digest',
      (request) =>
        request.answer(head('HTTP/1.1 200 OK', 'Docker-Content-Digest: "},{', 'Content-Length: 0')),
    ],
  ] as const satisfies readonly (readonly [string, UpstreamScript])[]) {
    test(`a push passes when upstream ${what} on being asked, and the old digest is unknown`, async () => {
      onHead = answer;
      onWrite = created;
      const { status, line } = await pushTo();
      assert.equal(status, 201);
      assert.deepEqual([line['oldDigest'], line['oldDigestUnknown']], [null, true]);
      assert.equal(line['result'], 'success');
    });
  }

  describe('with tags that are new', () => {
    before(() => {
      onHead = (request) => request.answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
    });
    const resultOf = ({ line }: { line: Record<string, unknown> }) => [
      line['status'],
      line['result'],
      line['digest'],
    ];

    test("upstream's word for the digest comes before our own, and a push by digest asks for nothing", async () => {
      onWrite = async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 201 Created', `Docker-Content-Digest: ${old}`, 'Content-Length: 0'));
      };
      const byTag = await pushTo();
      assert.deepEqual(resultOf(byTag), [201, 'success', old]);
      assert.deepEqual([byTag.line['oldDigest'], byTag.line['oldDigestUnknown']], [null, undefined]);
      const digest = digestOf('{}');
      const { line, received } = await pushTo({ reference: `${digest}?tag=a&tag=b%0a` });
      assert.deepEqual([line['tag'], line['furtherTags'], line['digest']], [null, ['a', 'b\\u{a}'], digest]);
      assert.equal(received.length, 1);
    });

    test('what upstream refuses is a failure; when it breaks off, nobody knows', async () => {
      onWrite = async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 400 Bad', 'Content-Length: 0'));
      };
      assert.deepEqual(resultOf(await pushTo()), [400, 'failure', null]);
      onWrite = async (request) => {
        await request.body();
        request.socket.destroy();
      };
      assert.deepEqual(resultOf(await pushTo()), [502, 'unknown', null]);
    });

    test('a client that leaves before the answer: nobody knows', async () => {
      let arrived = () => {};
      const begun = new Promise<void>((resolve) => (arrived = resolve));
      onWrite = async (request) => {
        await request.body();
        arrived();
      };
      const pushing = await pushTo({}, async (...bytes) => {
        const client = await connectClient(frontDoor);
        client.send(...bytes);
        await begun;
        client.leave();
        return 0;
      });
      assert.deepEqual(resultOf(pushing), [0, 'unknown', null]);
    });

    test('a body that turns out too large is a failure, and one that says so is not forwarded and has no line', async () => {
      onWrite = created;
      const large = 'x'.repeat(1024 * 1024 + 1);
      const path = '/v2/large/manifests/1';
      const asked = upstream.requests.length;
      assert.equal(
        (await exchange(frontDoor, authorized(`PUT ${path}`, `Content-Length: ${large.length}`), large))
          .status,
        413,
      );
      assert.equal(upstream.requests.length, asked);
      assert.equal(
        (await exchange(frontDoor, authorized(`PUT ${path}`, 'Transfer-Encoding: chunked'), chunked(large)))
          .status,
        413,
      );
      const line = await auditOf(frontDoor, (entry) => entry['repository'] === 'large');
      assert.deepEqual(resultOf({ line }), [413, 'failure', null]);
      assert.equal(
        (await wholeLog(frontDoor)).filter((entry) => isAudit(entry) && entry['repository'] === 'large')
          .length,
        1,
      );
    });

    test('a large manifest that has come before it is forwarded goes through whole, and is read', async () => {
      let seen = '';
      onWrite = async (request) => {
        seen = (await request.body()).body.toString();
        request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
      };
      const large = `{"config":{"size":1},"layers":[],"annotations":{"a":"${'x'.repeat(500_000)}"}}`;
      const path = '/v2/whole/manifests/1';
      const answer = await exchange(
        frontDoor,
        authorized(`PUT ${path}`, 'Transfer-Encoding: chunked'),
        chunked(large),
      );
      assert.equal(answer.status, 201);
      assert.equal(seen, large);
      const line = await auditOf(frontDoor, (entry) => entry['repository'] === 'whole');
      assert.deepEqual(
        [line['digest'], line['bytes'], line['imageBytes']],
        [digestOf(large), large.length, 1],
      );
    });

    test('who may not push leaves none', async () => {
      assert.equal(
        (await exchange(frontDoor, anonymous('PUT /v2/stranger/manifests/1', 'Content-Length: 2'), '{}'))
          .status,
        401,
      );
      const log = await wholeLog(frontDoor);
      assert.ok(log.some((entry) => entry['path'] === '/v2/stranger/manifests/1'));
      assert.ok(!log.some((entry) => isAudit(entry) && entry['repository'] === 'stranger'));
    });

    test('names that a client makes up stay within their line', async () => {
      onWrite = created;
      const tag = encodeURIComponent('a\u2028\u009b31m"}\u202e{"user":"root"');
      const path = `/v2/made-up/manifests/${digestOf('{}')}?tag=${tag}`;
      assert.equal(
        (await exchange(frontDoor, authorized(`PUT ${path}`, 'Content-Length: 2'), '{}')).status,
        201,
      );
      const line = await auditOf(frontDoor, (entry) => entry['repository'] === 'made-up');
      assert.deepEqual(line['furtherTags'], ['a\\u{2028}\\u{9b}31m"}\\u{202e}{"user":"root"']);
      assert.equal(line['user'], user);
    });

    test('the first registry protocol: the image that a tag is set to, and deletes', async () => {
      onWrite = async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), '""');
      };
      const id = '0a'.repeat(32);
      const path = '/v1/repositories/library/old/tags/latest';
      await exchange(frontDoor, authorized(`PUT ${path}`, 'Content-Length: 66'), JSON.stringify(id));
      await exchange(frontDoor, authorized(`DELETE ${path}`));
      await exchange(frontDoor, authorized('DELETE /v1/repositories/library/old/'));
      const of = { repository: 'library/old', status: 200, result: 'success' };
      assert.deepEqual(await auditOf(frontDoor, (line) => line['imageId'] === id), {
        ...push,
        ...of,
        tag: 'latest',
        digest: null,
        oldDigest: null,
        imageId: id,
        bytes: 66,
        imageBytes: null,
      });
      for (const [object, tag] of [
        ['tag', 'latest'],
        ['repository', null],
      ] as const) {
        assert.deepEqual(
          await auditOf(
            frontDoor,
            (line) => line['object'] === object && line['repository'] === 'library/old',
          ),
          { ...common, msg: 'delete', ...of, object, tag, digest: null },
        );
      }
    });
  });
});

describe('the audit and log.level', { timeout: 240_000 }, () => {
  for (const [set, expected] of [
    ['log.level=error', ['push']],
    ['log.audit=false', ['request']],
  ] as const) {
    test(set, async () => {
      const upstream = await startUpstream({
        script: async (request) => {
          await request.body();
          request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
        },
      });
      const port = await freePort();
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [`listen.port=${port}`, set],
        port,
      });
      await exchange(frontDoor, authorized('PUT /v2/app/manifests/1', 'Content-Length: 2'), '{}');
      await frontDoor.logged(({ msg }) => msg === expected[0]);
      await frontDoor.stop();
      const about = frontDoor.log.map(({ msg }) => msg).filter((msg) => ['push', 'request'].includes(msg));
      assert.deepEqual(about, expected);
      assert.equal(upstream.requests.length, set === 'log.audit=false' ? 1 : 2);
      await upstream.close();
    });
  }
});

describe('what the audit keeps of manifests under way', { timeout: 360_000 }, () => {
  const pushers = 100;
  const body = Buffer.from(`{"config":{"size":1},"layers":[],"annotations":{"a":"${'x'.repeat(900_000)}"}}`);

  test('is bounded for all of them together', async (t) => {
    let arrivedBytes = 0;
    let allArrived = () => {};
    const arrived = new Promise<void>((resolve) => (allArrived = resolve));
    const upstream = await startUpstream({
      keepsRequests: false,
      script: async (request) => {
        if (request.startLine.startsWith('HEAD ')) {
          request.answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
          return;
        }
        for (let left = body.length; left > 0;) {
          const bytes = (await request.someBody())?.length ?? 0;
          if (bytes === 0) return;
          left -= bytes;
          arrivedBytes += bytes;
          if (arrivedBytes === pushers * (body.length - 1)) allArrived();
        }
        request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
      },
    });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=1', 'limits.auditedBytes=4MiB'],
    });
    const clients = await Promise.all(Array.from({ length: pushers }, () => connectClient(frontDoor)));
    const before = await readMemory(frontDoor.pid);
    for (const [i, client] of clients.entries()) {
      const path = `/v2/team/app-${i}/manifests/1`;
      client.send(authorized(`PUT ${path}`, `Content-Length: ${body.length}`), body.subarray(0, -1));
    }
    await arrived;
    const heldBytes = (await readMemory(frontDoor.pid)).nowBytes - before.nowBytes;
    t.diagnostic(`${Math.round(heldBytes / pushers / 1000)} KB for each of ${pushers} pushes`);
    for (const client of clients) client.send(body.subarray(-1));
    for (const client of clients) assert.equal((await client.response()).status, 201);
    const lines = await Promise.all(
      clients.map((_, i) => auditOf(frontDoor, (line) => line['repository'] === `team/app-${i}`)),
    );
    for (const client of clients) client.leave();
    await frontDoor.stop();
    await upstream.close();
    // What is on its way takes up to 1.1 MB of each.
    assert.ok(heldBytes < pushers * 1_400_000, `${heldBytes} bytes are held`);
    assert.ok(lines.every((line) => line['digest'] === digestOf(body.toString())));
    const known = lines.filter((line) => line['imageBytes'] === 1).length;
    assert.ok(known > 0 && known <= 4, `${known} lines know the image`);
  });
});
