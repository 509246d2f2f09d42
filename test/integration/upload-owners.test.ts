import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createContainersClient } from '../support/clients-containers.ts';
import { password, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { createImage } from '../support/image.ts';
import { clientHost, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** bcrypt of the tests' password at cost 4. */
const hash = '$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm';
const htpasswd = ['alice', 'bob'].map((name) => `${name}:${hash}\n`).join('');
const config = `
policy:
  - { who: [anonymous, authenticated], repositories: ["drop/**"], actions: [pull, push] }
  - { who: [user:bob], repositories: ["hidden/**"], actions: [pull] }
  - { who: [authenticated], repositories: ["team/**"], actions: [pull, push] }
`;
type Who = 'alice' | 'bob' | null;

function send(frontDoor: FrontDoor, who: Who, request: string, body = ''): Promise<Response> {
  const credentials = Buffer.from(`${who}:${password}`).toString('base64');
  const lines = who === null ? [] : [`Authorization: Basic ${credentials}`];
  const length = /^(?:GET|HEAD)/.test(request) ? [] : [`Content-Length: ${body.length}`];
  const start = head(`${request} HTTP/1.1`, `Host: ${clientHost}`, ...lines, ...length);
  return exchange(frontDoor, start, body);
}

/** Where an answer leads, as path and query. */
function follow(response: Response): string {
  const [location = '', ...others] = values(response, 'location');
  assert.deepEqual(others, []);
  assert.ok(location.startsWith(`https://${clientHost}/`), location);
  return location.slice(`https://${clientHost}`.length);
}

/** The same with a further field, as Go's clients write it: decoded, sorted by name, and encoded again. */
function addField(target: string, name: string, value: string): string {
  const [path = '', query = ''] = target.split('?');
  const fields = new URLSearchParams(query);
  fields.set(name, value);
  fields.sort();
  return `${path}?${fields.toString()}`;
}

const bytes = 'a small layer';
const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

describe(
  'an upload to a real registry',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let otherInstance: FrontDoor;
    before(async () => {
      registry = await startRegistry();
      const options = { upstreamUrl: registry.url, htpasswd, config };
      frontDoor = await startFrontDoor({ ...options, set: ['workers=2'] });
      otherInstance = await startFrontDoor(options);
    });
    after(async () => {
      await otherInstance.stop();
      await frontDoor.stop();
      await registry.stop();
    });
    const ask = (who: Who, request: string, body?: string) => send(frontDoor, who, request, body);
    const begin = async (who: Who, query = '', repository = 'team/app') => {
      const begun = await ask(who, `POST /v2/${repository}/blobs/uploads/${query}`);
      assert.equal(begun.status, 202);
      return follow(begun);
    };
    const isUnknown = (response: Response) => {
      assert.equal(response.status, 404);
      if (response.body.length > 0) assert.equal(errorCode(response), 'BLOB_UPLOAD_UNKNOWN');
    };

    test('is as ever for who began it, over all workers', async () => {
      for (let round = 0; round < 4; round += 1) {
        let session = await begin('alice');
        assert.match(session, /^\/v2\/team\/app\/blobs\/uploads\/[\w-]+\?_state=[^&]+&_owner=[\w-]{48}$/);
        const status = await ask('alice', `GET ${session}`);
        assert.equal(status.status, 204);
        session = follow(status);
        const patched = await ask('alice', `PATCH ${session}`, bytes);
        assert.equal(patched.status, 202);
        session = addField(follow(patched), 'digest', digest);
        const put = await ask('alice', `PUT ${session}`);
        assert.equal(put.status, 201);
        assert.equal(follow(put), `/v2/team/app/blobs/${digest}`);
      }
      const dropped = await ask('alice', `DELETE ${await begin('alice')}`);
      assert.equal(dropped.status, 204);
    });

    for (const [name, who, change] of [
      ['another user', 'bob', (session: string) => session],
      ['who leaves the mark out', 'alice', (session: string) => session.replace(/&_owner=.*$/, '')],
      ['who wears it twice', 'alice', (session: string) => `${session}&${/_owner=.*$/.exec(session)?.[0]}`],
      [
        'who takes it to another repository',
        'alice',
        (session: string) => session.replace('/app/', '/other/'),
      ],
    ] as const) {
      test(`is unknown to ${name}, whatever they try`, async () => {
        const session = await begin('alice');
        const tried = change(session);
        for (const method of ['GET', 'HEAD', 'PATCH', 'DELETE'])
          isUnknown(await ask(who, `${method} ${tried}`));
        isUnknown(await ask(who, `PUT ${addField(tried, 'digest', digest)}`, bytes));
        if (!name.includes('twice')) isUnknown(await ask(who, `PUT ${tried}&digest=${digest}`, bytes));
        // Nothing of that has done it any harm.
        const put = await ask('alice', `PUT ${addField(session, 'digest', digest)}`, bytes);
        assert.equal(put.status, 201);
      });
    }

    test('is not of a client without credentials, nor the other way round', async () => {
      const session = await begin('alice', '', 'drop/box');
      isUnknown(await ask(null, `PATCH ${session}`, bytes));
      assert.equal((await ask(null, `PATCH ${await begin('alice')}`, bytes)).status, 401);
      const strangers = await begin(null, '', 'drop/box');
      isUnknown(await ask('alice', `PATCH ${strangers}`, bytes));
      const put = await ask(null, `PUT ${addField(strangers, 'digest', digest)}`, bytes);
      assert.equal(put.status, 201);
    });

    test('is unknown to an instance with another key', async () => {
      isUnknown(await send(otherInstance, 'alice', `GET ${await begin('alice')}`));
    });

    test('a mount is no session, and one that is left out is the beginning of one', async () => {
      const mount = `POST /v2/team/second/blobs/uploads/?mount=${digest}&from=`;
      const mounted = await ask('alice', `${mount}team/app`);
      assert.equal(mounted.status, 201);
      assert.equal(follow(mounted), `/v2/team/second/blobs/${digest}`);
      const begun = await ask('alice', `${mount}hidden/app`);
      assert.equal(begun.status, 202);
      assert.equal((await ask('alice', `PATCH ${follow(begun)}`, bytes)).status, 202);
    });

    test('a digest where the upload begins', async () => {
      const session = await begin('alice', `?digest=${digest}`);
      assert.equal((await ask('alice', `PATCH ${session}`, bytes)).status, 202);
    });

    test('skopeo pushes and pulls', { skip: unlessInstalled('skopeo', 'tar') }, async () => {
      const image = await createImage({ layerCount: 2, layerBytes: 300_000 });
      const { port, ca } = frontDoor;
      const client = await createContainersClient('skopeo', { host: `localhost:${port}`, ca, image });
      try {
        const access = { loggedIn: true, trusting: true };
        for (const step of [
          () => client.login(password, access),
          () => client.push('team/skopeo:1', access),
          () => client.pull('team/skopeo:1', access),
        ]) {
          const done = await step();
          assert.equal(done.code, 0, done.stderr);
        }
        assert.equal((await registry.manifest('team/skopeo', '1')).configDigest, image.id);
      } finally {
        await client.cleanUp();
        await image.remove();
      }
    });
  },
);

describe('an upload, as the registry sees it', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let location = '';
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 202 Accepted', `Location: ${location}`, 'Content-Length: 0'));
      },
    });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  const begin = async (given: string): Promise<string> => {
    location = given;
    const begun = await send(frontDoor, 'alice', 'POST /v2/team/app/blobs/uploads/');
    return values(begun, 'location').join();
  };
  const path = '/v2/team/app/blobs/uploads/0123';

  for (const [given, expected] of [
    [path, `${path}?_owner=OWNER`],
    ['0123', '0123?_owner=OWNER'],
    [`http://${clientHost}${path}?a=b%2F`, `https://${clientHost}${path}?a=b%2F&_owner=OWNER`],
    ['http://UPSTREAM' + path, `https://${clientHost}${path}?_owner=OWNER`],
    ['http://UPSTREAM', `https://${clientHost}`],
    [`https://storage.test${path}?a`, `https://storage.test${path}?a`],
  ] as const) {
    test(`its Location ${given}`, async () => {
      const got = await begin(given.replace('UPSTREAM', `127.0.0.1:${upstream.port}`));
      assert.equal(got.replace(/_owner=[\w-]{48}$/, '_owner=OWNER'), expected);
    });
  }

  for (const [given, sent] of [
    ['PATCH PATH?_owner=OWNER', 'PATCH PATH'],
    ['PATCH PATH?_state=%3d%3D&_owner=OWNER&z=%20+', 'PATCH PATH?_state=%3d%3D&z=%20+'],
    ['PUT PATH?_owner=OWNER&digest=sha256%3Axyz', 'PUT PATH?digest=sha256%3Axyz'],
  ] as const) {
    test(`${given} comes as ${sent}`, async () => {
      const [owner = ''] = /[\w-]{48}$/.exec(await begin(path)) ?? [];
      const request = given.replace('PATH', path).replace('OWNER', owner);
      assert.equal((await send(frontDoor, 'alice', request, 'x')).status, 202);
      assert.equal(upstream.requests.at(-1)?.startLine, `${sent.replace('PATH', path)} HTTP/1.1`);
    });
  }

  test('nothing of what is refused comes', async () => {
    const before = upstream.requests.length;
    assert.equal((await send(frontDoor, 'alice', `PATCH ${path}?_owner=x`, 'x')).status, 404);
    assert.equal(upstream.requests.length, before);
    const line = await frontDoor.logged((entry) => entry['status'] === 404);
    assert.equal(line['reason'], 'foreign-upload');
    assert.equal(line['code'], 'BLOB_UPLOAD_UNKNOWN');
  });
});
