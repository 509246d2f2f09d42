import { createHash } from 'node:crypto';
import type { Answer, CacheClient } from './cache-client.ts';
import { imageType, indexType, makeManifest, type Manifest } from './manifest-registry.ts';
import { createRandom } from './random.ts';

/** What a tag leads to: every manifest below it, with the blobs of each. */
export type Content = { readonly root: Manifest; readonly below: readonly Manifest[] };

export type PushCounts = {
  mounts: number;
  existing: number;
  /** Pushes that had to send a layer again. */
  resent: number;
};

/** Pushes as clients push: they find blobs, mount them, send them, and send them again. */
export type HistoryPushes = {
  putManifest(repository: string, reference: string, manifest: Manifest): Promise<Answer>;
  pushImage(repository: string, tag: string): Promise<Content>;
  pushIndex(repository: string, tag: string): Promise<Content>;
  pushSigned(repository: string, tag: string): Promise<Content>;
};

/** Loses a push when a layer vanishes again and again: it is no client's fault then. */
const maxTries = 12;
/**
 * How many images, configurations and layers there are, beside those of {@link newShare}. They are built again and again: what was
 * taken comes back, while it may be about to be taken elsewhere. Far more than tags lead to at a time.
 */
const builds = 400;
const configs = 80;
const layerPool = 300;
/** The share of images that nobody has ever pushed, nor their configuration and a layer. */
const newShare = 0.03;

type Image = { readonly manifest: Manifest; readonly blobs: readonly string[] };

/**
 * @param ask asks again while a front door refuses for now, or is away
 * @param mountsFrom repositories that blobs are mounted from
 */
export function createHistoryPushes(options: {
  readonly ask: CacheClient['ask'];
  readonly seed: number;
  readonly random: () => number;
  readonly mountsFrom: readonly string[];
  readonly counts: PushCounts;
  readonly mayBreak: boolean;
}): HistoryPushes {
  const { ask, seed, random, mountsFrom, counts, mayBreak } = options;
  let unique = 0;

  const upload = async (repository: string, content: string, isSecond = false): Promise<void> => {
    const started = await ask('POST', `/v2/${repository}/blobs/uploads/`);
    if (started.status !== 202) throw new Error(`an upload did not begin: ${describeAnswer(started)}`);
    const { pathname, search } = new URL(started.header('Location'), 'https://localhost');
    const done = await ask('PUT', `${pathname}${search}&digest=${digestOf(content)}`, {
      headers: { 'Content-Type': 'application/octet-stream' },
      body: content,
    });
    // Its connection was cut after the registry had ended the upload, and it was asked for again.
    if (done.status === 404 && mayBreak && !isSecond) return upload(repository, content, true);
    if (done.status !== 201) throw new Error(`a blob was not taken: ${describeAnswer(done)}`);
  };

  /** Puts a blob there as clients do: finds it, mounts it, or sends it. */
  const provide = async (repository: string, content: string): Promise<void> => {
    const digest = digestOf(content);
    const way = random();
    if (way < 0.05) return; // from the client's memory of an earlier push: it may be wrong
    if (way < 0.6) {
      const head = await ask('HEAD', `/v2/${repository}/blobs/${digest}`);
      if (head.status === 200) {
        counts.existing += 1;
        return;
      }
    }
    if (way > 0.7) {
      const from = mountsFrom[Math.floor(random() * mountsFrom.length)] ?? '';
      const mounted = await ask('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`);
      if (mounted.status === 201) {
        counts.mounts += 1;
        return;
      }
    }
    await upload(repository, content);
  };

  const putManifest = (repository: string, reference: string, { body, type }: Manifest) =>
    ask('PUT', `/v2/${repository}/manifests/${reference}`, { headers: { 'Content-Type': type }, body });

  /** Pushes a manifest whose parts `sendAgain` provides, until it is taken. */
  const pushUntilTaken = async (
    repository: string,
    reference: string,
    manifest: Manifest,
    sendAgain: () => Promise<void>,
  ): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      const answer = await putManifest(repository, reference, manifest);
      if (answer.status === 201) return;
      if (answer.status !== 400 && answer.status !== 404)
        throw new Error(`not taken: ${describeAnswer(answer)}`);
      if (tries === maxTries) throw new Error(`not taken ${tries} times: ${describeAnswer(answer)}`);
      counts.resent += 1;
      await sendAgain();
    }
  };

  const known = new Map<number, Image>();
  const buildImage = (build: number): Image => {
    const isNew = build >= builds;
    const choose = createRandom(seed + build);
    const layers = Array.from({ length: choose() < 0.7 ? 1 : 2 }, () => Math.floor(choose() * layerPool)).map(
      (layer) => `layer ${layer} of ${seed}`,
    );
    if (isNew) layers.push(`layer of ${seed}/${build}`);
    const config = `{"architecture":"amd64","os":"linux","of":"${seed}/${isNew ? build : build % configs}"}`;
    const describeBlob = (mediaType: string, content: string) => ({
      ...{ mediaType, digest: digestOf(content), size: Buffer.byteLength(content) },
    });
    const manifest = makeManifest(imageType, {
      mediaType: imageType,
      config: describeBlob('application/vnd.oci.image.config.v1+json', config),
      layers: layers.map((each) => describeBlob('application/vnd.oci.image.layer.v1.tar', each)),
      annotations: { build: `${build}` },
    });
    return { manifest, blobs: [config, ...layers] };
  };
  const makeNewImage = () => buildImage(builds + ++unique);
  /** Some images are built much more often than others. */
  const makeImage = (): Image => {
    if (random() < newShare) return makeNewImage();
    const build = Math.floor(builds * random() ** 3);
    const image = known.get(build) ?? buildImage(build);
    known.set(build, image);
    return image;
  };

  const pushImage = async (
    repository: string,
    reference: string | null,
    image = makeImage(),
  ): Promise<Manifest> => {
    const sendAll = async () => {
      for (const blob of image.blobs) await upload(repository, blob);
    };
    for (const blob of image.blobs) await provide(repository, blob);
    await pushUntilTaken(repository, reference ?? image.manifest.digest, image.manifest, sendAll);
    return image.manifest;
  };

  const pushIndex = async (repository: string, tag: string): Promise<Content> => {
    const images = [makeImage(), makeImage()];
    const children: Manifest[] = [];
    for (const image of images) children.push(await pushImage(repository, null, image));
    const root = makeManifest(indexType, {
      mediaType: indexType,
      manifests: children.map(({ type, digest, body }) => ({ mediaType: type, digest, size: body.length })),
    });
    await pushUntilTaken(repository, tag, root, async () => {
      for (const image of images) {
        for (const blob of image.blobs) await upload(repository, blob);
        await pushImage(repository, null, image);
      }
    });
    return { root, below: children };
  };

  /** A new image, whose signature no other tag keeps, and that signature, which names it as its subject. */
  const pushSigned = async (repository: string, tag: string): Promise<Content> => {
    const root = await pushImage(repository, tag, makeNewImage());
    const config = '{}';
    const payload = `signature of ${root.digest}`;
    const signature = makeManifest(imageType, {
      mediaType: imageType,
      artifactType: 'application/example.signature',
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(config), size: 2 },
      layers: [{ mediaType: 'text/plain', digest: digestOf(payload), size: payload.length }],
      subject: { mediaType: imageType, digest: root.digest, size: root.body.length },
    });
    await pushImage(repository, null, { manifest: signature, blobs: [config, payload] });
    return { root, below: [signature] };
  };

  return {
    ...{ putManifest, pushIndex, pushSigned },
    pushImage: async (repository, tag) => ({ root: await pushImage(repository, tag), below: [] }),
  };
}

export const digestOf = (content: string | Buffer) =>
  `sha256:${createHash('sha256').update(content).digest('hex')}`;
export const describeAnswer = ({ status, body }: Answer) => `${status} ${body.toString().slice(0, 200)}`;
