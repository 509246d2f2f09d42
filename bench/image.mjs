import { createHash, randomBytes, randomFillSync } from 'node:crypto';
import fs from 'node:fs';
import { run } from '../src/quickstart/step.mjs';

const repository = 'bench/app';
const tag = 'latest';
const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const layers = 12;

/**
 * Writes random bytes to a file and pushes them as a blob.
 * @param {string} registryUrl
 * @param {string} file
 * @param {number} bytes a whole number of MiB
 * @returns {Promise<{ file: string, bytes: number, digest: string, path: string, repositoryPath: string }>}
 */
export async function createBlob(registryUrl, file, bytes) {
  const hash = createHash('sha256');
  const part = Buffer.alloc(1024 * 1024);
  const output = fs.openSync(file, 'w');
  for (let written = 0; written < bytes; written += part.length) {
    randomFillSync(part);
    hash.update(part);
    fs.writeSync(output, part);
  }
  fs.closeSync(output);
  const digest = `sha256:${hash.digest('hex')}`;
  const repositoryPath = `/v2/${repository}`;
  const location = await startUpload(`${registryUrl}${repositoryPath}`, digest);
  await run('curl', [
    ...['--silent', '--show-error', '--fail', '--output', '/dev/null', '--upload-file', file],
    ...['--header', 'Content-Type: application/octet-stream', location.href],
  ]);
  return { file, bytes, digest, path: `${repositoryPath}/blobs/${digest}`, repositoryPath };
}

/**
 * Pushes an image with a typical number of layers, each of a few bytes: only its manifest is pulled.
 * @param {string} registryUrl
 * @returns {Promise<{ digest: string, body: Buffer, repository: string, paths: { digest: string, tag: string } }>} the manifest
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
  return { digest, body, repository, paths: { digest: `${folder}/${digest}`, tag: `${folder}/${tag}` } };
}

async function pushBlob(base, blob) {
  const digest = digestOf(blob);
  await send('PUT', await startUpload(base, digest), blob, 'application/octet-stream');
  return { digest, size: blob.length };
}

/** Begins an upload and returns the URL for the PUT of the whole blob. */
async function startUpload(base, digest) {
  const started = await send('POST', `${base}/blobs/uploads/`);
  const location = new URL(started.headers.get('location'), base);
  location.searchParams.set('digest', digest);
  return location;
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
