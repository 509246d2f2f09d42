import { createHash, randomBytes } from 'node:crypto';

const repository = 'bench/app';
const tag = 'latest';
const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const layers = 12;

/**
 * Pushes an image with as many layers as a usual one has, each of a few bytes: only its manifest is pulled.
 * @param {string} registryUrl
 * @returns {Promise<{ digest: string, body: Buffer, paths: { digest: string, tag: string } }>} the manifest
 */
export async function pushImage(registryUrl) {
  const base = `${registryUrl}/v2/${repository}`;
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      ...(await pushBlob(base, Buffer.from('{"architecture":"amd64","os":"linux"}'))),
    },
    layers: [],
  };
  for (let layer = 0; layer < layers; layer += 1) {
    manifest.layers.push({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      ...(await pushBlob(base, randomBytes(64))),
    });
  }
  const body = Buffer.from(JSON.stringify(manifest, null, 2));
  await send('PUT', `${base}/manifests/${tag}`, body, mediaType);
  const digest = digestOf(body);
  const folder = `/v2/${repository}/manifests`;
  return { digest, body, paths: { digest: `${folder}/${digest}`, tag: `${folder}/${tag}` } };
}

async function pushBlob(base, blob) {
  const digest = digestOf(blob);
  const started = await send('POST', `${base}/blobs/uploads/`);
  const location = new URL(started.headers.get('location'), base);
  location.searchParams.set('digest', digest);
  await send('PUT', location, blob, 'application/octet-stream');
  return { digest, size: blob.length };
}

async function send(method, url, body, type) {
  const response = await fetch(url, { method, body, headers: type ? { 'Content-Type': type } : {} });
  if (!response.ok)
    throw new Error(`${method} ${url} was answered ${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
  return response;
}

function digestOf(bytes) {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
