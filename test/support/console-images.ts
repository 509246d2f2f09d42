import { randomBytes } from 'node:crypto';
import { pushBlob, sha256 } from './stored-blobs.ts';

const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

/** What clients of many kinds push, by hand: a registry takes it as theirs. */
export type Pusher = {
  blob(content: Buffer, mediaType: string, more?: object): Promise<Descriptor>;
  /** @param tag null: by digest alone */
  manifest(
    tag: string | null,
    content: { readonly mediaType?: string; readonly [field: string]: unknown },
  ): Promise<Descriptor>;
  /** An image whose configuration has what `config` says. */
  image(tag: string | null, options?: ImageOptions): Promise<Descriptor>;
};

export type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

export type ImageOptions = {
  readonly config?: object;
  readonly layers?: number | readonly Descriptor[];
  readonly architecture?: string;
  readonly manifest?: object;
};

export function createPusher(url: string, repository: string): Pusher {
  const blob: Pusher['blob'] = async (content, mediaType, more = {}) => {
    await pushBlob(url, repository, content);
    return { mediaType, digest: sha256(content), size: content.length, ...more };
  };
  const manifest: Pusher['manifest'] = async (tag, content) => {
    const mediaType = content.mediaType ?? types.manifest;
    const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...content }));
    const digest = sha256(body);
    const put = await fetch(`${url}/v2/${repository}/manifests/${tag ?? digest}`, {
      method: 'PUT',
      body: new Uint8Array(body),
      headers: { 'content-type': mediaType },
    });
    if (put.status !== 201) throw new Error(`the registry answered ${put.status}: ${await put.text()}`);
    return { mediaType, digest, size: body.length };
  };
  const image: Pusher['image'] = async (
    tag,
    { config = {}, layers = 2, architecture = 'amd64', manifest: more } = {},
  ) => {
    const content = { os: 'linux', architecture, id: randomBytes(8).toString('hex'), ...config };
    const descriptor = await blob(Buffer.from(JSON.stringify(content)), types.config);
    const pushed: Descriptor[] = [];
    if (typeof layers === 'number')
      for (let at = 0; at < layers; at++) pushed.push(await blob(randomBytes(100), types.layer));
    return manifest(tag, {
      config: descriptor,
      layers: typeof layers === 'number' ? pushed : layers,
      ...more,
    });
  };
  return { blob, manifest, image };
}

export const indexType = types.index;
