import { once } from 'node:events';
import { connect } from 'node:net';
import { createByteReader } from '../../test/support/byte-reader.ts';
import { head, readBody, readHead, values } from '../../test/support/http-message.ts';
import { clientHost } from '../../test/support/raw-client.ts';
import type { Registry } from '../../test/support/registry.ts';
import { sha256 } from '../../test/support/stored-blobs.ts';

/** A request, and a real registry's answer, byte for byte. */
export type RecordedExchange = {
  readonly name: string;
  readonly method: string;
  /** Below /v2/REPOSITORY/. */
  readonly target: string;
  /** Further header lines of the request. */
  readonly lines: readonly string[];
  readonly requestBody: Buffer;
  readonly status: number;
  readonly head: Buffer;
  /** The bytes that upstream sends. */
  readonly body: Buffer;
};

const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** A small manifest of a config and one layer. */
function createManifest(config: Buffer, layer: Buffer): Buffer {
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [describe(layer, 'application/vnd.oci.image.layer.v1.tar')],
    }),
  );
}

/** Pushes a small image to a real registry, pulls it, and records the bytes on the wire. */
export async function recordExchanges(registry: Registry): Promise<readonly RecordedExchange[]> {
  const config = Buffer.from('{"architecture":"amd64","os":"linux"}');
  const layer = Buffer.from(Array.from({ length: 700 }, (_, i) => i % 251));
  const manifest = createManifest(config, layer);
  const repository = 'recorded';
  const record = async (
    name: string,
    method: string,
    target: string,
    lines: readonly string[] = [],
    requestBody: Buffer = Buffer.alloc(0),
  ): Promise<RecordedExchange & { location: string }> => {
    const { hostname, port } = new URL(registry.url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    const reader = createByteReader(socket);
    const length = method === 'GET' || method === 'HEAD' ? [] : [`Content-Length: ${requestBody.length}`];
    socket.write(
      head(`${method} /v2/${repository}/${target} HTTP/1.1`, `Host: ${clientHost}`, ...lines, ...length),
    );
    socket.write(requestBody);
    const received = await readHead(reader);
    if (received === null) throw new Error(`the registry gave no answer to ${name}`);
    const { body } = await readBody(reader, received, method);
    socket.destroy();
    const status = Number(received.startLine.split(' ')[1]);
    if (status >= 300) throw new Error(`the registry answered ${status} to ${name}: ${body.toString()}`);
    const location = new URL(values(received, 'location')[0] ?? '/', registry.url);
    return {
      ...{ name, method, target, lines, requestBody, status, body },
      head: Buffer.from(received.head, 'latin1'),
      location: `${location.pathname}${location.search}`.replace(`/v2/${repository}/`, ''),
    };
  };
  const octets = ['Content-Type: application/octet-stream'];
  const push = async (bytes: Buffer) => {
    const begin = await record('POST of an upload', 'POST', 'blobs/uploads/');
    const piece = await record('PATCH of an upload', 'PATCH', begin.location, octets, bytes);
    const finish = `${piece.location}&digest=${sha256(bytes)}`;
    return [begin, piece, await record('PUT of an upload', 'PUT', finish, octets)];
  };
  await push(config);
  const pushes = await push(layer);
  const typed = [`Content-Type: ${manifestType}`];
  const accept = [`Accept: ${manifestType}`];
  const put = await record('PUT of a manifest', 'PUT', 'manifests/latest', typed, manifest);
  const blob = `blobs/${sha256(layer)}`;
  const cached = await record('GET of a manifest, cached', 'GET', 'manifests/latest', accept);
  return [
    cached,
    { ...cached, name: 'HEAD of a manifest, cached', method: 'HEAD' }, // Tidegate asks with GET for everyone
    await record('GET of a manifest, not cached', 'GET', 'manifests/latest', [...accept, 'Cookie: a=b']),
    await record('GET of a blob', 'GET', blob),
    await record('HEAD of a manifest, not cached', 'HEAD', 'manifests/latest', [...accept, 'Cookie: a=b']),
    await record('HEAD of a blob', 'HEAD', blob),
    put,
    ...pushes,
  ];
}
