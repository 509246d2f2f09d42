import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createContainersClient } from '../../support/clients-containers.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { addTokens, tokenFile, type TokenLogin } from '../../support/machine-tokens.ts';
import { run } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { askWith, basicOf, getToken, tokenIn } from '../../support/tokens.ts';

/** A registry to which every PATCH takes as long as the test wants. */
type SlowRegistry = {
  readonly url: string;
  /** Resolves when so many have begun. */
  begun(count: number): Promise<void>;
  release(): void;
  close(): void;
};

async function startSlowRegistry(target: Registry): Promise<SlowRegistry> {
  const sockets = new Set<Socket>();
  let held = 0;
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const carry = async (from: Socket, to: Socket) => {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (chunk.toString('latin1', 0, 6) === 'PATCH ') {
        held += 1;
        await released;
      }
      to.write(chunk);
    }
    to.end();
  };
  const server = createServer((client) => {
    const upstream = connect(Number(new URL(target.url).port), '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    carry(client, upstream).catch(() => upstream.destroy());
    upstream.pipe(client);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    begun: (count) => until(`${count} PATCH requests have begun`, () => held === count),
    release,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

const skip = unlessInstalled('docker-registry', 'skopeo', 'tar', 'curl');

/** The shortest that there is; a token is taken for 30 s after its end. */
const tokenTtl = '60s';
const longestMs = 100_000;

describe('a push that takes longer than its token', { skip, timeout: 480_000 }, () => {
  let registry: Registry;
  let slow: SlowRegistry;
  let frontDoor: FrontDoor;
  let image: Image;
  let ci: TokenLogin;
  before(async () => {
    registry = await startRegistry();
    slow = await startSlowRegistry(registry);
    frontDoor = await startFrontDoor({
      upstreamUrl: slow.url,
      set: [tokenFile, 'auth.tokens=on', `auth.tokenTtl=${tokenTtl}`],
    });
    image = await createImage({ layerCount: 1, layerBytes: 4_000_000 });
    ({ ci } = await addTokens(frontDoor, { ci: { repositories: ['team/**'], actions: ['pull', 'push'] } }));
  });
  after(async () => {
    await frontDoor.stop();
    slow.close();
    await registry.stop();
    await image.remove();
  });

  const fetchToken = async (): Promise<string> =>
    tokenIn(
      await getToken(frontDoor, 'service=Registry&scope=repository:team/curl:pull,push', basicOf(...ci)),
    ).token;
  /** Resolves when a token that was fetched now has ended: so has every one before it. */
  const untilExpired = async () => {
    const token = await fetchToken();
    const isExpired = async () => (await askWith(frontDoor, token, 'GET /nothing')).status === 401;
    await until('the token has expired', isExpired, longestMs);
  };
  const curl = async (...args: readonly string[]) => {
    const done = await run('curl', ['--silent', '--show-error', '--include', ...args]);
    assert.equal(done.code, 0, done.stderr);
    const answer = done.stdout.split('\r\n\r\n').find((part) => !/^HTTP\/\S+ 1\d\d /.test(part)) ?? '';
    const [, location = ''] = /^location: (.*)$/im.exec(answer) ?? [];
    return { status: Number(answer.split(' ')[1]), location: location.trim() };
  };

  it('goes on: with Skopeo, which renews its token, and with curl, which does not', async (t) => {
    const host = `localhost:${frontDoor.port}`;
    const skopeo = await createContainersClient('skopeo', { host, ca: frontDoor.ca, image });
    try {
      const access = { loggedIn: true, trusting: true };
      const login = await skopeo.login(ci[1], { trusting: true, name: ci[0] });
      assert.equal(login.code, 0, login.stderr);
      const pushed = skopeo.push('team/skopeo:1', access);

      const token = await fetchToken();
      const layer = path.join(frontDoor.dir, 'layer');
      const bytes = randomBytes(4_000_000);
      await writeFile(layer, bytes);
      const trusted = ['--cacert', frontDoor.caPath, '--header', `Authorization: Bearer ${token}`];
      const begun = await curl(
        ...trusted,
        '--request',
        'POST',
        '--data',
        '',
        `https://${host}/v2/team/curl/blobs/uploads/`,
      );
      assert.equal(begun.status, 202);
      const patched = curl(
        ...trusted,
        '--request',
        'PATCH',
        '--header',
        'Content-Type: application/octet-stream',
        '--data-binary',
        `@${layer}`,
        begun.location,
      );

      await slow.begun(2);
      await untilExpired();
      slow.release();
      const done = await pushed;
      assert.equal(done.code, 0, done.stderr);
      assert.equal((await registry.manifest('team/skopeo', '1')).configDigest, image.id);
      const { status, location } = await patched;
      assert.equal(status, 202);
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      const put = await curl(...trusted, '--request', 'PUT', '--data', '', `${location}&digest=${digest}`);
      assert.equal(put.status, 201);
      const manifest = await curl(
        ...trusted,
        '--request',
        'PUT',
        '--data',
        '{}',
        `https://${host}/v2/team/curl/manifests/1`,
      );
      assert.equal(manifest.status, 401, 'the manifest needs a token that is good');

      const reasons = (repository: string) =>
        frontDoor.log
          .filter(
            (line) => String(line['path']).startsWith(`/v2/team/${repository}/`) && line['method'] === 'PUT',
          )
          .map((line) => [line['user'], line['status'], line['reason']]);
      t.diagnostic(JSON.stringify(reasons('skopeo')));
      await frontDoor.logged((line) => line['path'] === '/v2/team/curl/manifests/1');
      assert.deepEqual(reasons('curl'), [
        ['token:ci', 201, 'upload-grace'],
        [null, 401, 'expired-token'],
      ]);
    } finally {
      await skopeo.cleanUp();
    }
  });
});
