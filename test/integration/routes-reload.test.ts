import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { authorized, exchange } from '../support/raw-client.ts';
import { startRedis, until } from '../support/redis.ts';
import { isRefusal, replaceConfig, sighup } from '../support/reload.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** A registry that has every tag, with a text of its own, until a push of another. */
async function startNamed(name: string, t: TestContext): Promise<ScriptedUpstream> {
  let text = name;
  const upstream = await startUpstream({
    script: async (request) => {
      const { body } = await request.body();
      const isPush = request.startLine.startsWith('PUT');
      if (isPush) text = body.toString();
      const digest = createHash('sha256').update(text).digest('hex');
      const fields = [`Content-Type: ${manifestType}`, `Docker-Content-Digest: sha256:${digest}`];
      if (isPush) request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
      else
        request.answer(
          head('HTTP/1.1 200 OK', `Content-Length: ${text.length}`, ...fields),
          request.startLine.startsWith('HEAD') ? '' : text,
        );
    },
  });
  t.after(() => upstream.close());
  return upstream;
}

const pull = async (frontDoor: FrontDoor, repository: string) => {
  const accept = `Accept: ${manifestType}`;
  const response = await exchange(frontDoor, authorized(`GET /v2/${repository}/manifests/latest`, accept));
  assert.equal(response.status, 200, response.body.toString());
  return { text: response.body.toString(), cache: values(response, 'x-cache')[0] };
};
/** Pulls until the answer comes from the cache, and gives that. */
const pullCached = async (frontDoor: FrontDoor, repository: string): Promise<string> => {
  let text = '';
  await until('the answer is cached', async () => {
    const found = await pull(frontDoor, repository);
    ({ text } = found);
    return found.cache === 'HIT';
  });
  return text;
};
const push = async (frontDoor: FrontDoor, repository: string, text: string) => {
  const fields = [`Content-Length: ${text.length}`, `Content-Type: ${manifestType}`];
  const request = authorized(`PUT /v2/${repository}/manifests/latest`, ...fields) + text;
  assert.equal((await exchange(frontDoor, request)).status, 201);
};
const routeTo = (url: string, name = 'hub') =>
  `routes: [{ name: ${name}, repositories: ["hub/**"], stripPrefix: hub, upstream: { url: "${url}" } }]\n`;

describe('reloads of routes', { timeout: 360_000 }, () => {
  test('lose no request, and no answer of a former registry is served after them', async (t) => {
    const own = await startNamed('own', t);
    const one = await startNamed('one', t);
    const two = await startNamed('two', t);
    const frontDoor = await startFrontDoor({
      upstreamUrl: own.url,
      set: ['cache.driver=memory', 'cache.tagTtl=1h', 'log.audit=false'],
      config: '',
    });
    t.after(() => frontDoor.stop());
    let isOver = false;
    t.after(() => (isOver = true));
    let pulled = 0;
    const load = Promise.all(
      ['hub/app', 'app', 'hub/other'].map(async (repository) => {
        while (!isOver) {
          const { text } = await pull(frontDoor, repository);
          assert.ok((repository === 'app' ? ['own'] : ['own', 'one', 'two']).includes(text), text);
          pulled += 1;
        }
      }),
    );
    for (const [config, expected] of [
      [routeTo(one.url), 'one'],
      [routeTo(two.url), 'two'],
      [routeTo(one.url, 'other'), 'one'],
      ['', 'own'],
      [routeTo(two.url), 'two'],
    ] as const) {
      await replaceConfig(frontDoor, config === '' ? 'workers: 1\n' : config);
      const line = await sighup(frontDoor);
      assert.equal(line.msg, 'reloaded', line.msg);
      assert.equal((await pull(frontDoor, 'hub/app')).text, expected);
      assert.equal(await pullCached(frontDoor, 'hub/app'), expected);
    }
    isOver = true;
    await load;
    assert.ok(pulled > 10, `${pulled} pulls`);
  });

  describe('with Redis', { skip: unlessInstalled('redis-server') }, () => {
    test('instances that reload one after the other serve each what its own route has', async (t) => {
      const redis = await startRedis();
      t.after(() => redis.stop());
      const own = await startNamed('own', t);
      const one = await startNamed('one', t);
      const two = await startNamed('two', t);
      const start = async () => {
        const frontDoor = await startFrontDoor({
          upstreamUrl: own.url,
          set: [
            'cache.driver=redis',
            `cache.redis.url=redis://${redis.address}`,
            'cache.tagTtl=1h',
            'log.audit=false',
          ],
          config: routeTo(one.url),
        });
        t.after(() => frontDoor.stop());
        return frontDoor;
      };
      const [first, second] = [await start(), await start()];
      for (const each of [first, second]) assert.equal(await pullCached(each, 'hub/app'), 'one');

      await replaceConfig(first, routeTo(two.url));
      assert.deepEqual((await sighup(first))['needRestart'], []);
      assert.equal(await pullCached(first, 'hub/app'), 'two');
      assert.equal(await pullCached(second, 'hub/app'), 'one', 'it has not reloaded yet');
      assert.equal(await pullCached(first, 'hub/app'), 'two');

      await push(first, 'hub/app', 'pushed to two');
      await push(second, 'hub/app', 'pushed to one');
      assert.equal(await pullCached(first, 'hub/app'), 'pushed to two');
      assert.equal(await pullCached(second, 'hub/app'), 'pushed to one');

      await replaceConfig(second, routeTo(two.url));
      await sighup(second);
      assert.equal(await pullCached(second, 'hub/app'), 'pushed to two');
      await push(second, 'hub/app', 'pushed again');
      assert.equal(await pullCached(first, 'hub/app'), 'pushed again', 'and they learn of each other');

      // A route that is renamed, or that strips another prefix, is the same registry: answers are shared.
      await replaceConfig(
        first,
        `routes: [{ name: x, repositories: ["dock/**"], stripPrefix: dock, upstream: { url: "${two.url}" } }]\n`,
      );
      await sighup(first);
      await push(first, 'dock/app', 'by another name');
      assert.equal(await pullCached(second, 'hub/app'), 'by another name');
    });

    test('a route cannot take the registry that upstream keeps until a restart', async (t) => {
      const redis = await startRedis();
      t.after(() => redis.stop());
      const own = await startNamed('own', t);
      const one = await startNamed('one', t);
      const frontDoor = await startFrontDoor({
        upstreamUrl: null,
        set: ['cache.driver=redis', `cache.redis.url=redis://${redis.address}`],
        config: `upstream: { url: "${own.url}" }\n`,
      });
      t.after(() => frontDoor.stop());
      await replaceConfig(frontDoor, `upstream: { url: "${one.url}" }\n${routeTo(own.url)}`);
      const line = await sighup(frontDoor);
      assert.ok(isRefusal(line), line.msg);
      assert.match(line.msg, /the registry that upstream\.url keeps until a restart/);
      assert.equal((await pull(frontDoor, 'hub/app')).text, 'own');
    });
  });
});
