import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { basic, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { clientHost, exchange, type Response } from '../support/raw-client.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const prefix = 'outside/shop';
const inner = 'inner-word/app';
const outer = `${prefix}/${inner}`;

const sha256 = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar';

const blob = 'a layer';
const config = '{"architecture":"amd64","os":"linux"}';
const describeBlob = (mediaType: string, text: string) => ({
  mediaType,
  digest: sha256(text),
  size: text.length,
});
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: manifestType,
  config: describeBlob(configType, config),
  layers: [describeBlob(layerType, blob)],
});

/** What a client sees of a registry whose repositories have other names: nothing of these. */
describe('names behind a prefix', { skip: unlessInstalled('docker-registry'), timeout: 360_000 }, () => {
  let own: Registry;
  let behind: Registry;
  let frontDoor: FrontDoor;
  const seen: string[] = [];

  before(async () => {
    own = await startRegistry();
    behind = await startRegistry({ headers: { 'X-Content-Type-Options': ['nosniff'] } });
    frontDoor = await startFrontDoor({
      upstreamUrl: own.url,
      config: `
auth: { tokens: "on" }
policy:
  - { who: [user:${user}], repositories: ["**"], actions: [pull, push, delete] }
immutableTags: ["outside/**:v*"]
routes:
  - { name: shop, repositories: ["${prefix}/**"], stripPrefix: ${prefix}, upstream: { url: "${behind.url}" } }
`,
    });
  });
  after(async () => {
    await frontDoor.stop();
    await own.stop();
    await behind.stop();
  });

  const send = async (request: string, body = '', ...fields: string[]): Promise<Response> => {
    const length = /^(?:GET|HEAD|DELETE) /.test(request) ? [] : [`Content-Length: ${body.length}`];
    const response = await exchange(
      frontDoor,
      head(`${request} HTTP/1.1`, `Host: ${clientHost}`, `Authorization: ${basic}`, ...length, ...fields) +
        body,
    );
    const lines = response.headers.map(([name, value]) => `${name}: ${value}`).join('\n');
    seen.push(`${request}\n${response.status}\n${lines}\n${response.body.toString()}`);
    return response;
  };
  /** A Location is what a client follows: with scheme and host, or without. */
  const place = (response: Response): string =>
    (values(response, 'location')[0] ?? assert.fail('no Location')).replace(/^https:\/\/[^/]*/, '');
  const join = (location: string, query: string) =>
    `${location}${location.includes('?') ? '&' : '?'}${query}`;

  const pushBlob = async (repository: string, text: string): Promise<void> => {
    const started = await send(`POST /v2/${repository}/blobs/uploads/`);
    assert.equal(started.status, 202);
    const patched = await send(`PATCH ${place(started)}`, text, 'Content-Type: application/octet-stream');
    assert.equal(patched.status, 202);
    const status = await send(`GET ${place(patched)}`);
    assert.equal(status.status, 204);
    const ended = await send(`PUT ${join(place(patched), `digest=${sha256(text)}`)}`);
    assert.equal(ended.status, 201);
    assert.equal((await send(`GET ${place(ended)}`)).body.toString(), text);
  };
  const pushManifest = (reference: string, text = manifest) =>
    send(`PUT /v2/${outer}/manifests/${reference}`, text, `Content-Type: ${manifestType}`);

  test('push, pull, lists, mounts, deletes and errors', async () => {
    for (const text of [blob, config]) await pushBlob(outer, text);
    for (const tag of ['a', 'b', 'c', 'v1']) assert.equal((await pushManifest(tag)).status, 201);
    const pulled = await send(`GET /v2/${outer}/manifests/a`, '', `Accept: ${manifestType}`);
    assert.equal(pulled.body.toString(), manifest);
    assert.equal((await send(`HEAD /v2/${outer}/manifests/a`, '', `Accept: ${manifestType}`)).status, 200);
    const byDigest = `/v2/${outer}/manifests/${sha256(manifest)}`;
    assert.equal((await send(`GET ${byDigest}`, '', `Accept: ${manifestType}`)).status, 200);

    let page: string | null = `/v2/${outer}/tags/list?n=2`;
    const tags: string[] = [];
    while (page !== null) {
      const list: Response = await send(`GET ${page}`);
      const read = JSON.parse(list.body.toString()) as { name: string; tags: string[] };
      assert.equal(read.name, outer);
      tags.push(...read.tags);
      page = /<([^>]*)>/.exec(values(list, 'link').join())?.[1] ?? null;
    }
    assert.deepEqual(tags.sort(), ['a', 'b', 'c', 'v1']);
    await send(`HEAD /v2/${outer}/tags/list`);
    await send(`GET /v2/${outer}/referrers/${sha256(manifest)}`);

    const other = `${prefix}/inner-word/other`;
    const mount = `/v2/${other}/blobs/uploads/?mount=${sha256(blob)}&from=`;
    const mounted = await send(`POST ${mount}${encodeURIComponent(outer)}`);
    assert.equal(mounted.status, 201);
    assert.equal(place(mounted), `/v2/${other}/blobs/${sha256(blob)}`);
    await pushBlob('elsewhere/app', blob);
    assert.equal((await send(`POST ${mount}elsewhere/app`)).status, 202);
    const across = `/v2/elsewhere/other/blobs/uploads/?mount=${sha256(blob)}&from=${outer}`;
    assert.equal((await send(`POST ${across}`)).status, 202);

    const expected: [request: string, status: number, body?: string][] = [
      [`GET /v2/${outer}/manifests/missing`, 404],
      [`GET /v2/${outer}-missing/tags/list`, 404],
      [`GET /v2/${outer}/blobs/${sha256('missing')}`, 404],
      [`GET /v2/${outer}/blobs/uploads/00000000-0000-0000-0000-000000000000`, 404],
      [`PUT /v2/${outer}/manifests/broken`, 400, 'no manifest'],
      [`PUT /v2/${outer}/manifests/blobless`, 400, manifest.replace(sha256(blob), sha256('missing'))],
      [`PUT /v2/${outer}/manifests/v1`, 403, manifest.replace('{', '{ ')],
      [`DELETE /v2/${outer}/manifests/v1`, 403],
      [`DELETE ${byDigest}`, 403],
      [`DELETE /v2/${outer}/blobs/${sha256('missing')}`, 404],
      [`DELETE /v2/${other}/blobs/${sha256(blob)}`, 202],
    ];
    for (const [request, status, body = ''] of expected) {
      const response = await send(request, body, `Content-Type: ${manifestType}`, `Accept: ${manifestType}`);
      assert.equal(response.status, status, `${request}: ${response.body.toString()}`);
    }
    await send('GET /v2/_catalog');
    await send('GET /v2/');
    const scope = encodeURIComponent(`repository:${outer}:pull,push`);
    await send(`GET /token?service=Registry&scope=${scope}&account=${user}`);
    await exchange(frontDoor, head(`GET /v2/${outer}/manifests/a HTTP/1.1`, `Host: ${clientHost}`)).then(
      (response) => seen.push(values(response, 'www-authenticate').join()),
    );

    assert.ok(seen.length > 40, `only ${seen.length} answers`);
    for (const answer of seen) {
      const without = answer.replaceAll(`${prefix}/inner-word`, '').replaceAll('outside%2Fshop%2Finner', '');
      assert.ok(!without.includes('inner-word'), answer);
      assert.ok(!answer.includes(new URL(behind.url).host), answer);
    }

    await frontDoor.logged(({ msg, object }) => msg === 'delete' && object === 'blob');
    const lines = frontDoor.log.map((line) => JSON.stringify(line));
    assert.ok(lines.some((line) => line.includes('"push"') && line.includes(`"repository":"${outer}"`)));
    for (const line of lines) {
      const without = line.replaceAll(`${prefix}/inner-word`, '');
      assert.ok(!without.includes('inner-word'), line);
    }
  });
});
