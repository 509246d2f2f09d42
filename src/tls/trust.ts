import { isIPv6 } from 'node:net';

type TrustTarget = {
  /** Absolute path of ca.crt. */
  caPath: string;
  /** Names that clients use for the registry: no wildcards, IPv6 without brackets. */
  hosts: readonly string[];
  port: number;
};

/** The commands that make one kind of client trust a CA, each a line. */
export type TrustCommands = {
  readonly docker: readonly string[];
  /** Podman, Buildah, Skopeo, CRI-O. */
  readonly containers: readonly string[];
  readonly containerd: readonly string[];
  /** The whole system. */
  readonly debian: readonly string[];
  readonly redHat: readonly string[];
  readonly macOs: readonly string[];
  readonly windows: readonly string[];
  readonly curl: readonly string[];
};

/** @param registry HOST[:PORT] as {@link formatRegistry} writes it */
export function trustCommands(caPath: string, registry: string): TrustCommands {
  const ca = quote(caPath);
  return {
    docker: [installCommand(caPath, '/etc/docker/certs.d', registry)],
    containers: [installCommand(caPath, '/etc/containers/certs.d', registry)],
    containerd: formatContainerd(caPath, registry),
    debian: [
      `sudo install -m 644 ${ca} /usr/local/share/ca-certificates/tidegate-ca.crt`,
      'sudo update-ca-certificates',
      'sudo systemctl restart docker',
    ],
    redHat: [
      `sudo install -m 644 ${ca} /etc/pki/ca-trust/source/anchors/tidegate-ca.crt`,
      'sudo update-ca-trust',
      'sudo systemctl restart docker',
    ],
    macOs: [`sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${ca}`],
    windows: [`certutil -addstore -f Root "${caPath}"`],
    curl: [`curl --cacert ${ca} https://${registry}/v2/`],
  };
}

/** Writes the commands that make each kind of client trust the CA. @returns lines, the last one ended. */
export function formatTrustSteps({ caPath, hosts, port }: TrustTarget): string {
  const all = hosts.map((host) => trustCommands(caPath, formatRegistry(host, port)));
  const each = (client: keyof TrustCommands) => all.flatMap((commands) => indentCommands(commands[client]));
  const once = (client: keyof TrustCommands) => (all[0]?.[client] ?? []).map((command) => `  ${command}`);
  return lines([
    `Clients that verify the certificate must trust this CA: ${caPath}`,
    'On another machine: copy that file there first, and put its path there in place of the one below.',
    '',
    'Docker Engine and docker login on Linux (works at once, no restart; the folder is named as the registry in image names):',
    ...each('docker'),
    '',
    'Podman, Buildah, Skopeo, CRI-O (works at once; without root: ~/.config/containers/certs.d):',
    ...each('containers'),
    '',
    'containerd, nerdctl (works at once, once config_path is set):',
    ...each('containerd'),
    '  In /etc/containerd/config.toml, then restart containerd, unless it is there already:',
    '    containerd 1.x: [plugins."io.containerd.grpc.v1.cri".registry]',
    '    containerd 2.x: [plugins."io.containerd.cri.v1.images".registry]',
    '      config_path = "/etc/containerd/certs.d"',
    '  ctr does not read that file: give it --hosts-dir /etc/containerd/certs.d',
    '',
    'Kubernetes: do the steps of its runtime (containerd or CRI-O) on every node; pods need nothing.',
    '',
    'Debian, Ubuntu: the whole system, curl and Go programs included (a running Docker Engine sees it after its restart):',
    ...once('debian'),
    '',
    'RHEL, Fedora, Rocky, Alma: the whole system (a running Docker Engine sees it after its restart):',
    ...once('redHat'),
    '',
    'macOS (Docker Desktop sees it after its restart):',
    ...once('macOs'),
    '',
    'Windows, in a prompt of the administrator (Docker Desktop sees it after its restart):',
    ...once('windows'),
  ]);
}

/** Indents commands, but not what a heredoc feeds, nor its end. */
function indentCommands(commands: readonly string[]): string[] {
  const start = commands.findIndex((command) => command.includes('<<'));
  return commands.map((command, index) => (start !== -1 && index > start ? command : `  ${command}`));
}

/**
 * Writes the two commands that most people need, for Docker and for Podman and its relatives. @returns lines, the last
 * one ended.
 */
export function formatDockerTrust({
  caPath,
  host,
  port,
}: {
  caPath: string;
  host: string;
  port: number;
}): string {
  const registry = formatRegistry(host, port);
  return lines([
    `Docker:                  ${installCommand(caPath, '/etc/docker/certs.d', registry)}`,
    `Podman, Buildah, Skopeo: ${installCommand(caPath, '/etc/containers/certs.d', registry)}`,
  ]);
}

/**
 * Formats HOST[:PORT] as in an image's name, and so in the folder's name in certs.d. 443 is left out, but not after a
 * name without a dot: clients read `myhost/app` as `docker.io/myhost/app`, and `myhost:443/app` as a registry.
 */
export function formatRegistry(host: string, port: number): string {
  const name = isIPv6(host) ? `[${host}]` : host;
  const isRegistry = /[.:]/.test(name) || name === 'localhost';
  return port === 443 && isRegistry ? name : `${name}:${port}`;
}

function formatContainerd(caPath: string, registry: string): string[] {
  const folder = `/etc/containerd/certs.d/${registry}`;
  return [
    installCommand(caPath, '/etc/containerd/certs.d', registry),
    `sudo tee ${quote(`${folder}/hosts.toml`)} <<'END'`,
    `server = "https://${registry}"`,
    '',
    `[host."https://${registry}"]`,
    '  capabilities = ["pull", "resolve", "push"]',
    `  ca = "${folder}/ca.crt"`,
    'END',
  ];
}

function installCommand(caPath: string, folder: string, registry: string): string {
  return `sudo install -D -m 644 ${quote(caPath)} ${quote(`${folder}/${registry}/ca.crt`)}`;
}

/** Quotes a word for a POSIX shell, if it holds more than plain characters. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function lines(all: readonly string[]): string {
  return all.join('\n') + '\n';
}
