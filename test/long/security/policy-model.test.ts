import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { clientHost, connectClient, type RawClient } from '../../support/raw-client.ts';
import { mayDo, policies, repositories, users } from '../../support/policy-model.ts';
import { replaceConfig, sighup } from '../../support/reload.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamScript,
} from '../../support/scripted-upstream.ts';

/** A request, and what it means by its making: nothing of it is read from its text. */
type Asked = {
  readonly who: string | null;
  readonly line: string;
  readonly repository: string;
  readonly action: string;
  readonly from: string | null;
  /** Where the client is. */
  readonly address: string;
};

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const body = '{}';
const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
const blobDigest = `sha256:${'0'.repeat(64)}`;

const forms: readonly (readonly [action: string, method: string, path: string])[] = [
  ['pull', 'GET', '/manifests/latest'],
  ['pull', 'HEAD', '/manifests/latest'],
  ['pull', 'GET', `/manifests/${digest}`],
  ['pull', 'GET', `/blobs/${blobDigest}`],
  ['pull', 'HEAD', `/blobs/${blobDigest}`],
  ['pull', 'GET', '/tags/list'],
  ['pull', 'GET', `/referrers/${digest}`],
  ['push', 'PUT', '/manifests/latest'],
  ['push', 'POST', '/blobs/uploads/'],
  ['delete', 'DELETE', `/manifests/${digest}`],
  ['delete', 'DELETE', `/blobs/${blobDigest}`],
];
/** Of this machine, with different networks in the rules. */
const clientAddresses = ['127.0.0.1', '127.0.0.2', '127.0.0.5'] as const;
const asked: fc.Arbitrary<Asked> = fc
  .record({
    who: fc.option(fc.constantFrom(...users)),
    repository: repositories,
    form: fc.constantFrom(...forms),
    from: fc.option(repositories),
    address: fc.constantFrom(...clientAddresses),
  })
  .map(({ who, repository: name, form: [action, method, path], from, address }) => {
    const mounts = method === 'POST' ? from : null;
    const query = mounts === null ? '' : `?mount=${blobDigest}&from=${mounts}`;
    const line = `${method} /v2/${name}${path}${query}`;
    return { who, repository: name, action, from: mounts, address, line };
  });

/** Manifests that the cache may keep, and a 200 for everything else. */
const script: UpstreamScript = async (request) => {
  await request.body();
  const isManifest = request.startLine.includes('/manifests/');
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const fields = isManifest ? [`Content-Type: ${type}`, `Docker-Content-Digest: ${digest}`] : [];
  request.answer(
    head('HTTP/1.1 200 OK', ...fields, `Content-Length: ${body.length}`),
    request.startLine.startsWith('HEAD ') ? '' : body,
  );
};

describe('any policy, whoever asks for whatever', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script });
    const htpasswd = users.map((name) => `${name}:${hash}\n`).join('');
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config: '{}' });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  const send = async (client: RawClient, { who, line }: Asked) => {
    const method = line.slice(0, line.indexOf(' '));
    const credentials = Buffer.from(`${who ?? ''}:x`).toString('base64');
    client.send(
      head(
        `${line} HTTP/1.1`,
        `Host: ${clientHost}`,
        'Accept: application/vnd.oci.image.manifest.v1+json',
        ...(who === null ? [] : [`Authorization: Basic ${credentials}`]),
        ...(method === 'GET' || method === 'HEAD' ? [] : ['Content-Length: 0']),
      ),
    );
    return client.response(method);
  };

  test('gets what a model of the rules says, and upstream and the cache are asked for nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(policies, fc.array(asked, { minLength: 30, maxLength: 60 }), async (policy, all) => {
        // Something else has to differ each time, or there would be nothing to reload.
        await replaceConfig(frontDoor, JSON.stringify({ ...policy, auth: { realm: `r${Math.random()}` } }));
        assert.equal((await sighup(frontDoor)).msg, 'reloaded');
        const clients = new Map<string, RawClient>();
        for (const address of clientAddresses)
          clients.set(address, await connectClient(frontDoor, { localAddress: address }));
        try {
          for (const each of all) {
            const client = clients.get(each.address) ?? assert.fail();
            const may = mayDo(policy, each.who, each.repository, each.address);
            const refusal =
              each.who === null ? 401 : may.some((action) => action !== 'overwrite') ? 403 : 404;
            const expected = may.includes(each.action) ? 200 : refusal;
            const seenBefore = upstream.requests.length;
            const response = await send(client, each);
            assert.equal(
              response.status,
              expected,
              `${each.who ?? 'nobody'} at ${each.address}: ${each.line}`,
            );
            const forwarded = upstream.requests.slice(seenBefore).map(({ startLine }) => startLine);
            if (expected !== 200) assert.deepEqual(forwarded, []);
            else if (each.from !== null) {
              const keeps = mayDo(policy, each.who, each.from, each.address).includes('pull');
              const line = keeps ? each.line : each.line.replace(/\?.*/, '');
              assert.deepEqual(forwarded, [`${line} HTTP/1.1`]);
            }
          }
        } finally {
          for (const client of clients.values()) client.leave();
        }
      }),
      { numRuns: 40, endOnFailure: false, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
    );
  });
});
