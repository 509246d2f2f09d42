import type {
  CompareModel,
  RawManifestModel,
  ShortList,
  ForeignText,
  ImageModel,
  ImageOfPlatform,
  Layer,
  Referrer,
  RepositoryPageModel,
  TagRow,
} from '../../../src/console/registry/models.ts';

/** Changes each text that others write: names, labels, steps. */
export type Word = (text: string) => string;

/** Now, in all samples. */
export const nowMs = Date.UTC(2026, 10, 29, 17, 30);
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
export const ago = { minuteMs, hourMs, dayMs };

export const digestOf = (number: number) =>
  `sha256:${(number * 7919 + 11).toString(16).padStart(8, '0').repeat(8)}`;

export const whole = <T>(items: readonly T[]): ShortList<T> => ({ items, more: 0 });

/** Models of one registry with all kinds of images. */
export function sampleModels(word: Word) {
  const foreign = (text: string): ForeignText => ({ text: word(text), isCut: false });
  const pair = (name: string, value: string) => [foreign(name), foreign(value)] as const;

  const layers = (count: number): Layer[] =>
    Array.from({ length: count }, (_, index) => ({
      digest: digestOf(index + 100),
      mediaType: foreign('application/vnd.oci.image.layer.v1.tar+gzip'),
      bytes: Math.round(29_150_000 / (1 + (index % 9) ** 2)),
      step: foreign(commands[index % commands.length] ?? ''),
    }));

  const image = (count: number): ImageOfPlatform => {
    const all = layers(count);
    const steps = all.flatMap((layer, index) => [
      { text: layer.step ?? foreign(''), layer, createdMs: nowMs - 3 * dayMs },
      ...(index % 2 === 0
        ? [{ text: foreign('ENV LANG=C.UTF-8 PYTHON_VERSION=3.13.1'), layer: null, createdMs: null }]
        : []),
    ]);
    return {
      digest: digestOf(2),
      platform: word('linux/amd64'),
      bytes: all.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
      layers: whole(all),
      steps: whole(steps),
      config: {
        command: foreign('nginx -g daemon off;'),
        entrypoint: foreign('/docker-entrypoint.sh'),
        user: foreign('101:101'),
        workingDir: foreign('/usr/share/nginx/html'),
        ports: whole([foreign('80/tcp'), foreign('443/tcp')]),
        volumes: whole([foreign('/var/cache/nginx')]),
        environment: whole([
          foreign('PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'),
          foreign('NGINX_VERSION=1.27.3'),
        ]),
        labels: whole([
          pair('maintainer', 'Platform team <platform@example.com>'),
          pair('org.opencontainers.image.source', 'https://git.example.com/platform/web'),
          pair('org.opencontainers.image.revision', '3f2a90c17be4418e9a4a0b7be5d0f3cc1d0f7ab1'),
          pair('org.opencontainers.image.description', 'The public site, with the assets of release 2026.11'),
        ]),
        createdMs: nowMs - 3 * dayMs,
      },
      chart: null,
    };
  };

  const referrers: Referrer[] = [
    referrer(30, 'signature', 'application/vnd.dev.cosign.artifact.sig.v1+json', 2_310),
    referrer(31, 'sbom', 'application/spdx+json', 1_482_000),
    referrer(33, 'other', 'application/vnd.example.scan+json', 940),
    referrer(32, 'attestation', 'application/vnd.in-toto+json', 18_220),
  ];
  function referrer(number: number, kind: Referrer['kind'], type: string, bytes: number): Referrer {
    return {
      digest: digestOf(number),
      kind,
      artifactType: foreign(type),
      bytes,
      annotations: whole([pair('org.opencontainers.image.created', '2026-11-26T09:14:00Z')]),
    };
  }

  const repository = 'platform/web';
  const imageModel: ImageModel = {
    repository,
    reference: '1.27.3',
    digest: digestOf(1),
    mediaType: foreign('application/vnd.oci.image.index.v1+json'),
    kind: 'index',
    bytes: 192_400_000,
    annotations: whole([pair('org.opencontainers.image.title', 'web')]),
    platforms: whole(
      ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7', 'windows/amd64'].map((platform, index) => ({
        digest: digestOf(2 + index),
        platform: word(platform),
        bytes: 48_100_000 + index * 1_310_000,
      })),
    ),
    shown: image(7),
    referrers: whole(referrers),
    twins: whole(['latest', '1.27', '1']),
    pushedMs: nowMs - 3 * dayMs,
    pushedBy: word('job:github platform/web'),
    pulledMs: nowMs - 11 * minuteMs,
  };

  const rows: TagRow[] = Array.from({ length: 50 }, (_, index) => ({
    tag: word(index === 0 ? 'latest' : index === 7 ? 'chart-2.1.0' : `1.27.${50 - index}`),
    digest: index === 9 ? null : digestOf(index < 2 ? 1 : index),
    bytes: index === 9 ? null : 192_400_000 - index * 1_730_000,
    platforms: whole(
      index % 4 === 0 ? ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7', 'windows/amd64'] : ['linux/amd64'],
    ),
    kind: oddKinds[index] ?? (index % 4 === 0 ? 'index' : 'image'),
    pushedMs: index === 9 ? null : nowMs - index * index * 7 * hourMs - 3 * minuteMs,
    pushedBy: index === 9 ? null : word(index % 3 === 0 ? 'alice' : 'token:ci'),
    pulledMs: index % 5 === 4 ? null : nowMs - index * 3 * hourMs,
    twins: whole(index === 0 ? ['1.27.49', '1.27', '1', 'stable'] : index === 1 ? ['latest'] : []),
  }));
  const repositoryModel: RepositoryPageModel = {
    repository,
    rows,
    total: 212,
    page: 1,
    pages: 5,
    search: '',
    attached: 24,
  };

  const compare: CompareModel = {
    repository,
    a: '1.27.2',
    b: '1.27.3',
    digestA: digestOf(3),
    digestB: digestOf(1),
    platform: word('linux/amd64'),
    platforms: whole(['linux/amd64', 'linux/arm64/v8'].map(word)),
    shared: whole(layers(4)),
    onlyA: whole(layers(2)),
    onlyB: {
      items: layers(3)
        .slice(1)
        .map((layer) => ({ ...layer, step: null })),
      more: 2,
    },
    sharedBytes: 52_500_000,
    onlyABytes: 43_700_000,
    onlyBBytes: null,
    settings: whole([
      { kind: 'environment', name: foreign('NGINX_VERSION'), a: foreign('1.27.2'), b: foreign('1.27.3') },
      {
        kind: 'label',
        name: foreign('org.opencontainers.image.revision'),
        a: foreign('a81b6f0'),
        b: foreign('3f2a90c'),
      },
      { kind: 'volume', name: null, a: foreign('/data'), b: null },
      { kind: 'port', name: null, a: null, b: foreign('443/tcp') },
    ]),
  };
  const raw: RawManifestModel = {
    repository,
    reference: '1.27.3',
    digest: digestOf(1),
    mediaType: foreign('application/vnd.oci.image.index.v1+json'),
    bytes: 2_311,
    text: JSON.stringify({ schemaVersion: 2, annotations: { title: word('web') } }, null, 2),
    isCut: true,
  };
  return { foreign, image, imageModel, repositoryModel, compare, raw };
}

const oddKinds: Readonly<Partial<Record<number, TagRow['kind']>>> = {
  7: 'chart',
  10: 'schema1',
  11: 'unknown',
};

const commands = [
  '/bin/sh -c #(nop) ADD file:4f1ac5a5d2c4a6a1ba3ab26ee27e7bb1d5b7b4ba7f2ac4bbbd8e6d24 in / ',
  'RUN /bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends ca-certificates curl netbase tzdata; rm -rf /var/lib/apt/lists/* # buildkit',
  'COPY --from=build /src/dist /usr/share/nginx/html # buildkit',
  'RUN /bin/sh -c chown -R 101:101 /var/cache/nginx # buildkit',
];
