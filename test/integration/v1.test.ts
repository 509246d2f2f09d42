import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked, values } from '../support/http-message.ts';
import { anonymous, authorized, clientHost, errorCode, exchange } from '../support/raw-client.ts';
import { startV1Registry, type V1Registry } from '../support/v1-registry.ts';

const openSession = authorized(
  'PUT /v1/repositories/library/app/',
  'X-Docker-Token: true',
  'Content-Length: 2',
  'User-Agent: docker/1.5.0',
);

describe('the first registry protocol', { timeout: 240_000 }, () => {
  let registry: V1Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startV1Registry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
  });
  after(async () => {
    assert.deepEqual(registry.complaints, []);
    await frontDoor.stop();
    await registry.close();
  });
  const withToken = (requestLine: string, token: string | undefined, ...lines: string[]) =>
    anonymous(requestLine, `Authorization: Token ${token ?? assert.fail()}`, ...lines);

  test('/v1/_ping and /_ping are open, with the headers of the registry', async () => {
    for (const path of ['/v1/_ping', '/_ping']) {
      const response = await exchange(frontDoor, anonymous(`GET ${path}`));
      assert.equal(response.body.toString(), 'true');
      assert.deepEqual(values(response, 'x-docker-registry-version'), ['0.9.1']);
    }
  });

  test('everything else needs the password', async () => {
    for (const path of [
      '/v1/',
      '/v1/users/',
      '/v1/search?q=x',
      '/v1/images/1/json',
      '/v1/repositories/library/app/tags',
    ])
      assert.equal((await exchange(frontDoor, anonymous(`GET ${path}`))).status, 401);
    assert.equal((await exchange(frontDoor, authorized('GET /v1/users/'))).status, 200);
  });

  test('a push: Basic first, then the token that the registry issued, and its cookies', async () => {
    const session = await exchange(frontDoor, `${openSession}{}`);
    assert.equal(session.status, 200);
    const [token] = values(session, 'x-docker-token');
    assert.equal(token, registry.tokens.at(-1));
    assert.deepEqual(values(session, 'www-authenticate'), [`Token ${token ?? ''}`]);
    assert.deepEqual(values(session, 'x-docker-endpoints'), [clientHost]);
    assert.deepEqual(values(session, 'set-cookie'), ['session=s1; Path=/', 'node=n1']);

    const layer = await exchange(
      frontDoor,
      withToken(
        'PUT /v1/images/0a/layer',
        token,
        'Cookie: session=s1; node=n1',
        'Transfer-Encoding: chunked',
      ),
      chunked('the layer'),
    );
    assert.equal(layer.status, 200);
    assert.deepEqual(values(layer, 'x-cookie-seen'), ['session=s1; node=n1']);
    const pulled = await exchange(frontDoor, withToken('GET /v1/images/0a/layer', token));
    assert.equal(pulled.body.toString(), 'the layer');
    assert.deepEqual(values(pulled, 'x-docker-size'), ['9']);
    const withPassword = await exchange(frontDoor, authorized('GET /v1/images/0a/layer'));
    assert.equal(withPassword.body.toString(), 'the layer');
    const missing = await exchange(frontDoor, withToken('GET /v1/images/0b/json', token));
    assert.equal(missing.startLine, 'HTTP/1.1 404 NOT FOUND');
    assert.equal(missing.body.toString(), '{"error": "Image not found"}');
  });

  test('a token is taken character for character', async () => {
    await exchange(frontDoor, `${openSession}{}`);
    const token = registry.tokens.at(-1) ?? assert.fail();
    const seenBefore = registry.requests.length;
    for (const authorization of [
      `Token ${token}x`,
      `Token ${token.slice(1)}`,
      `Token ${token.toUpperCase()}`,
      `Token ${token.replaceAll('"', '')}`,
      `Token ${token}, ${token}`,
      `Bearer ${token}`,
      `Basic ${token}`,
      token,
      'Token signature=forged,repository="library/app",access=write',
      'Token',
    ]) {
      const response = await exchange(
        frontDoor,
        anonymous('GET /v1/images/0a/layer', `Authorization: ${authorization}`),
      );
      assert.deepEqual([response.status, errorCode(response)], [401, 'UNAUTHORIZED'], authorization);
    }
    assert.equal(registry.requests.length, seenBefore);
  });

  test('what a stranger is answered on an open path is no token to remember', async () => {
    const response = await exchange(
      frontDoor,
      anonymous('GET /_ping', 'Authorization: Token made-up', 'X-Docker-Token: true'),
    );
    assert.equal(response.status, 200);
    const later = await exchange(frontDoor, withToken('GET /v1/users/', 'made-up'));
    assert.equal(later.status, 401);
  });

  test('a token ends with the user', async () => {
    await exchange(frontDoor, `${openSession}{}`);
    const token = registry.tokens.at(-1);
    assert.equal((await exchange(frontDoor, withToken('GET /v1/users/', token))).status, 200);
    await writeFile(
      frontDoor.htpasswdPath,
      'bob:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n',
    );
    await frontDoor.logged(({ msg }) => msg.includes('in effect'));
    assert.equal((await exchange(frontDoor, withToken('GET /v1/users/', token))).status, 401);
    await rm(frontDoor.htpasswdPath);
  });
});
