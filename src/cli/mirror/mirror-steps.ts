import { formatRegistry, quote } from '../../tls/trust.ts';

/** A mirror as clients see it. */
export type ClientRoute = {
  /** Null: its repositories have their own names. */
  readonly stripPrefix: string | null;
  /** At least one. */
  readonly namespaces: readonly string[];
  readonly hosts: readonly string[];
};

type StepsTarget = {
  readonly routes: readonly ClientRoute[];
  /** The name that clients use: IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Absolute path of ca.crt; null when clients trust the certificate's CA anyway. */
  readonly caPath: string | null;
};

/** An image of each that everybody knows, for the examples. */
const examples: Readonly<Record<string, string>> = {
  'docker.io': 'library/nginx',
  'registry.k8s.io': 'pause:3.10',
  'quay.io': 'prometheus/prometheus',
};

/** Writes what makes each kind of client pull through the mirrors. @returns lines, the last one ended. */
export function formatMirrorSteps({ routes, host, port, caPath }: StepsTarget): string {
  const registry = formatRegistry(host, port);
  const trust =
    caPath === null
      ? []
      : [
          `Clients must trust this CA: ${caPath}`,
          'On another machine: copy that file there first, and put its path there in place of the one below.',
        ];
  return [
    `Mirrors at ${registry}. containerd and the Docker Engine send them no password, Podman and CRI-O that of ${registry}:`,
    'docs/mirrors.md has the rule of the policy that lets them pull.',
    ...trust,
    ...routes.flatMap((route) =>
      route.namespaces.flatMap((namespace) => formatMirror({ route, namespace, registry, port, caPath })),
    ),
    '',
  ].join('\n');
}

type Mirror = {
  readonly route: ClientRoute;
  readonly namespace: string;
  readonly registry: string;
  readonly port: number;
  readonly caPath: string | null;
};

function formatMirror(mirror: Mirror): string[] {
  const { route, namespace, registry } = mirror;
  const place = route.stripPrefix === null ? registry : `${registry}/${route.stripPrefix}`;
  return [
    '',
    namespace,
    '='.repeat(namespace.length),
    '',
    'By name, after docker login (podman and nerdctl alike):',
    `  docker pull ${place}/${examples[namespace] ?? 'OWNER/IMAGE'}`,
    '',
    ...formatContainerd(mirror),
    '',
    ...formatContainers(mirror, place),
    ...(namespace === 'docker.io' ? ['', ...formatEngine(mirror)] : []),
  ];
}

function formatContainerd({ namespace, registry, caPath }: Mirror): string[] {
  const folder = `/etc/containerd/certs.d/${namespace}`;
  const source = namespace === 'docker.io' ? 'registry-1.docker.io' : namespace;
  return [
    'containerd, nerdctl, Kubernetes with containerd (works at once, once config_path is set, see: tidegate cert trust):',
    ...(caPath === null ? [makeFolder(folder)] : installCa(caPath, `${folder}/tidegate.crt`)),
    ...tee(`${folder}/hosts.toml`, [
      "# Asked when the mirror fails. To ask nobody else, write the mirror's URL here.",
      `server = "https://${source}"`,
      '',
      `[host."https://${registry}"]`,
      '  capabilities = ["pull", "resolve"]',
      ...(caPath === null ? [] : [`  ca = "${folder}/tidegate.crt"`]),
    ]),
  ];
}

function formatContainers({ namespace, registry, caPath }: Mirror, place: string): string[] {
  const folder = '/etc/containers/registries.conf.d';
  return [
    'Podman, Buildah, Skopeo, Kubernetes with CRI-O (works at once; CRI-O: sudo systemctl reload crio):',
    ...installCa(caPath, `/etc/containers/certs.d/${registry}/ca.crt`),
    makeFolder(folder),
    ...tee(`${folder}/50-tidegate-${namespace.replaceAll(/[.:]/g, '-')}.conf`, [
      '[[registry]]',
      `prefix = "${namespace}"`,
      `location = "${namespace}"`,
      '',
      '[[registry.mirror]]',
      `location = "${place}"`,
    ]),
  ];
}

/** It sends neither prefix nor namespace, and knows mirrors of Docker Hub only. */
function formatEngine({ route, port, caPath }: Mirror): string[] {
  const [host] = route.hosts;
  if (host === undefined) {
    return [
      'Docker Engine (registry-mirrors): needs a host name of its own for the mirror, in the certificate and in hosts of the',
      'route: see docs/mirrors.md.',
    ];
  }
  const registry = formatRegistry(host, port);
  return [
    'Docker Engine, for every image of Docker Hub:',
    ...installCa(caPath, `/etc/docker/certs.d/${registry}/ca.crt`),
    '  In /etc/docker/daemon.json, then: sudo systemctl reload docker',
    `    { "registry-mirrors": ["https://${registry}"] }`,
  ];
}

const installCa = (caPath: string | null, target: string): string[] =>
  caPath === null ? [] : [`  sudo install -D -m 644 ${quote(caPath)} ${quote(target)}`];

const makeFolder = (folder: string): string => `  sudo mkdir -p ${quote(folder)}`;

const tee = (file: string, lines: readonly string[]): string[] => [
  `  sudo tee ${quote(file)} <<'END'`,
  ...lines,
  'END',
];
