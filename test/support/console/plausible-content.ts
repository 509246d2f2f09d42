import { randomBytes } from 'node:crypto';
import { createPusher, indexType, type Descriptor, type Pusher } from '../console-images.ts';

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const mb = 1_000_000;

/** What a team's registry may hold: applications, a base, a chart, signatures. Sizes are said, not had. */
export async function pushPlausible(url: string): Promise<void> {
  await pushShop(url);
  for (const [name, tags, sizes] of [
    ['base/node', ['20', '20.19', '22'], [28.2, 47.6]],
    ['base/python', ['3.13', '3.13-slim'], [28.2, 12.9]],
    ['data/postgres', ['17.2', '16.6'], [28.2, 132]],
    ['shop/payments', ['1.18.0', '1.17.3', 'latest'], [28.2, 47.6, 19.4]],
    ['shop/search', ['0.9.2', '0.9.1'], [28.2, 96.1]],
    ['tools/ci-runner', ['2026-11', '2026-10'], [28.2, 1388]],
  ] as const)
    await pushApplication(createPusher(url, name), tags, sizes);
  await pushChart(url);
}

const steps = [
  ['/bin/sh -c #(nop) ADD file:6d1c0f3e in / ', false],
  ['/bin/sh -c #(nop)  CMD ["bash"]', true],
  [
    'RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends ca-certificates curl tini && rm -rf /var/lib/apt/lists/* # buildkit',
    false,
  ],
  ['WORKDIR /app', true],
  ['COPY package.json package-lock.json ./ # buildkit', false],
  ['RUN /bin/sh -c npm ci --omit=dev # buildkit', false],
  ['COPY dist ./dist # buildkit', false],
  ['USER node', true],
  ['EXPOSE map[8080/tcp:{}]', true],
  ['ENTRYPOINT ["tini" "--"]', true],
  ['CMD ["node" "dist/server.js"]', true],
] as const;

/** An application for two platforms, with twins, a signature, an SBOM, and versions before it. */
async function pushShop(url: string): Promise<void> {
  const push = createPusher(url, 'shop/web');
  const bases = { amd64: await layersOf(push, [28.2, 41.3]), arm64: await layersOf(push, [27.8, 40.6]) };
  const dependencies = await layersOf(push, [0.24, 96.8]);
  const old = await pushVersion(push, '2.3.7', bases, await layersOf(push, [0.24, 94.1, 3.9]));
  for (const tag of ['2.4.0', '2.4.1']) {
    const application = await layersOf(push, [tag === '2.4.1' ? 4.16 : 4.11]);
    const pushed = await pushVersion(push, tag, bases, [...dependencies, ...application]);
    if (tag === '2.4.1') for (const twin of ['2.4', '2', 'latest']) await push.manifest(twin, pushed.content);
    await pushSignature(push, pushed.index);
    await pushSbom(push, pushed.index);
  }
  await push.manifest('2.3', old.content);
}

async function pushVersion(
  push: Pusher,
  version: string,
  bases: Readonly<Record<'amd64' | 'arm64', readonly Descriptor[]>>,
  layers: readonly Descriptor[],
) {
  const image = (architecture: 'amd64' | 'arm64') =>
    push.image(null, {
      architecture,
      layers: [...bases[architecture], ...layers],
      config: configOf(version),
    });
  const [amd64, arm64] = [await image('amd64'), await image('arm64')];
  const content = {
    mediaType: indexType,
    manifests: [
      { ...amd64, platform: { os: 'linux', architecture: 'amd64' } },
      { ...arm64, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    ],
    annotations: { 'org.opencontainers.image.version': version },
  };
  return { content, index: await push.manifest(version, content) };
}

function configOf(version: string): object {
  return {
    created: '2026-11-27T08:41:12Z',
    config: {
      User: 'node',
      ExposedPorts: { '8080/tcp': {} },
      Env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'NODE_ENV=production',
        `SHOP_VERSION=${version}`,
      ],
      Entrypoint: ['tini', '--'],
      Cmd: ['node', 'dist/server.js'],
      WorkingDir: '/app',
      Labels: {
        'org.opencontainers.image.title': 'Shop',
        'org.opencontainers.image.source': 'https://git.example.com/shop/web',
        'org.opencontainers.image.revision': '8d1f4c0b7e52a9d3',
        'org.opencontainers.image.licenses': 'Apache-2.0',
        'org.opencontainers.image.version': version,
      },
    },
    history: steps.map(([created_by, empty_layer]) => ({
      ...{ created: '2026-11-27T08:41:12Z', created_by },
      ...(empty_layer && { empty_layer }),
    })),
  };
}

/** Layers of so many megabytes. */
async function layersOf(push: Pusher, sizes: readonly number[]): Promise<Descriptor[]> {
  const layers: Descriptor[] = [];
  for (const size of sizes)
    layers.push({ ...(await push.blob(randomBytes(100), layerType)), size: Math.round(size * mb) });
  return layers;
}

async function pushApplication(
  push: Pusher,
  tags: readonly string[],
  sizes: readonly number[],
): Promise<void> {
  for (const tag of tags)
    await push.image(tag, { layers: await layersOf(push, sizes), config: { config: {} } });
}

async function pushSignature(push: Pusher, subject: Descriptor): Promise<void> {
  const artifactType = 'application/vnd.dev.cosign.artifact.sig.v1+json';
  const layer = await push.blob(randomBytes(60), 'application/vnd.dev.cosign.simplesigning.v1+json');
  await push.image(`${subject.digest.replace(':', '-')}.sig`, {
    layers: [layer],
    manifest: { artifactType, subject },
  });
}

/** Listed under the tag of the referrers' fallback, as clients do before registries without that API. */
async function pushSbom(push: Pusher, subject: Descriptor): Promise<void> {
  const artifactType = 'application/spdx+json';
  const layer = { ...(await push.blob(randomBytes(60), artifactType)), size: 214_000 };
  const sbom = await push.image(null, { layers: [layer], manifest: { artifactType, subject } });
  await push.manifest(subject.digest.replace(':', '-'), {
    mediaType: indexType,
    manifests: [
      { ...sbom, artifactType, annotations: { 'org.opencontainers.image.created': '2026-11-27T08:42:03Z' } },
    ],
  });
}

async function pushChart(url: string): Promise<void> {
  const push = createPusher(url, 'charts/shop');
  for (const version of ['1.6.0', '1.5.2']) {
    const about = {
      name: 'shop',
      version,
      appVersion: '2.4.1',
      description: 'The shop and what it needs',
      apiVersion: 'v2',
    };
    const config = await push.blob(
      Buffer.from(JSON.stringify(about)),
      'application/vnd.cncf.helm.config.v1+json',
    );
    const chart = await push.blob(randomBytes(60), 'application/vnd.cncf.helm.chart.content.v1.tar+gzip');
    await push.manifest(version, { config, layers: [{ ...chart, size: 18_400 }] });
  }
}
