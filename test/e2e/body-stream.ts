import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { basic, type FrontDoor } from '../support/front-door.ts';

/** A body too large to keep, known by what it is made from: no two seeds have a chunk in common. */
export type LargeBody = { readonly seed: number; readonly bytes: number };

const zeros = Buffer.alloc(256 * 1024);

/** The body's bytes: the AES-CTR key stream of its seed, which is as good as random and quick to make. */
export function* chunksOf({ seed, bytes }: LargeBody): Generator<Buffer> {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  for (let left = bytes; left > 0; left -= zeros.length) {
    yield cipher.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
  }
}

export function digestOf(body: LargeBody): string {
  const hash = createHash('sha256');
  for (const chunk of chunksOf(body)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** A body in pieces. */
type Body = Iterable<Buffer> | AsyncIterable<Buffer>;
type Sent = { readonly status: number | undefined; readonly location: string };

/** A registry's client that verifies Tidegate's certificate and opens a connection for each request. */
export function createBlobClient(frontDoor: FrontDoor, repository: string) {
  const base = `https://localhost:${frontDoor.port}/v2/${repository}/blobs/`;
  const open = (method: string, url: string, headers: OutgoingHttpHeaders = {}) =>
    request(url, {
      method,
      ca: frontDoor.ca,
      agent: new Agent(),
      headers: { Authorization: basic, ...headers },
    });

  /** @param contentLength in bytes; left out, the body is chunked. */
  async function send(method: string, url: string, body: Body, contentLength?: number): Promise<Sent> {
    const upload = open(method, url, contentLength === undefined ? {} : { 'Content-Length': contentLength });
    const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
    const [[response]] = await Promise.all([answered, pipeline(body, upload)]);
    response.resume();
    await once(response, 'end');
    return { status: response.statusCode, location: response.headers.location ?? '' };
  }

  const begin = async (): Promise<string> => {
    const { status, location } = await send('POST', `${base}uploads/`, [], 0);
    if (status !== 202) throw new Error(`upload refused: ${status ?? 'no answer'}`);
    return location;
  };
  const withDigest = (location: string, digest: string): string => {
    const url = new URL(location);
    url.searchParams.set('digest', digest);
    return url.href;
  };

  return {
    /** POST, one PATCH in chunks of unknown number, PUT; gives the statuses of the last two. */
    async uploadChunked(body: Body, digest: string): Promise<(number | undefined)[]> {
      const patched = await send('PATCH', await begin(), body);
      const closed = await send('PUT', withDigest(patched.location, digest), [], 0);
      return [patched.status, closed.status];
    },
    /** POST, and one PUT of known length; gives the status of the last. */
    async uploadWhole(body: LargeBody, digest: string): Promise<number | undefined> {
      return (await send('PUT', withDigest(await begin(), digest), chunksOf(body), body.bytes)).status;
    },
    /** Begins a GET of a blob; nothing of its body is read yet. */
    async openDownload(digest: string): Promise<IncomingMessage> {
      const download = open('GET', base + digest);
      download.end();
      const [response] = (await once(download, 'response')) as [IncomingMessage];
      if (response.statusCode !== 200) throw new Error(`download refused: ${response.statusCode ?? ''}`);
      return response;
    },
  };
}

/** Reads a body to its end, or so many bytes of it, and gives their number and SHA-256, which is all that is kept of them. */
export async function readBody(
  response: IncomingMessage,
  maxBytes = Infinity,
): Promise<{ bytes: number; digest: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    const wanted = chunk.subarray(0, maxBytes - bytes);
    hash.update(wanted);
    bytes += wanted.length;
    if (bytes === maxBytes) break;
  }
  return { bytes, digest: `sha256:${hash.digest('hex')}` };
}
