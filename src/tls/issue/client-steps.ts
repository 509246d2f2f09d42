import { formatRegistry, quote } from '../trust.ts';

type ClientStepsTarget = {
  /** Absolute paths of NAME.crt and NAME.key. */
  certPath: string;
  keyPath: string;
  /** Absolute path of ca.crt, null when the server's certificate comes from elsewhere. */
  caPath: string | null;
  /** The name under which clients reach the registry; null: not known. */
  host: string | null;
  port: number;
};

/** Writes the commands that make each kind of client send its certificate. @returns lines, the last one ended. */
export function formatClientSteps({ certPath, keyPath, caPath, host, port }: ClientStepsTarget): string {
  const registry = host === null ? 'REGISTRY' : formatRegistry(host, port);
  const install = (root: string) => {
    const folder = quote(`${root}/${registry}`);
    return [
      `  sudo install -D -m 644 ${quote(certPath)} ${folder}/client.cert`,
      `  sudo install -m 600 ${quote(keyPath)} ${folder}/client.key`,
    ];
  };
  const containerd = `/etc/containerd/certs.d/${registry}`;
  return [
    ...(host === null
      ? ['REGISTRY below is the name as it stands in image names; --host NAME fills it in.', '']
      : []),
    'On the client, with the two files carried there over a safe way such as scp:',
    '',
    'Docker Engine and docker login on Linux (works at once, no restart):',
    ...install('/etc/docker/certs.d'),
    '',
    'Podman, Buildah, Skopeo, CRI-O (works at once; without root: ~/.config/containers/certs.d):',
    ...install('/etc/containers/certs.d'),
    '',
    'containerd, nerdctl (works at once, once config_path is set):',
    ...install('/etc/containerd/certs.d'),
    `  and in ${containerd}/hosts.toml, below [host."https://${registry}"]:`,
    `    client = [["${containerd}/client.cert", "${containerd}/client.key"]]`,
    '',
    'curl:',
    `  curl${caPath === null ? '' : ` --cacert ${quote(caPath)}`} --cert ${quote(certPath)} --key ${quote(keyPath)} https://${registry}/v2/`,
    '',
  ].join('\n');
}
