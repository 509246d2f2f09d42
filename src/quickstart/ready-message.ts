import { formatDockerTrust, formatRegistry } from '../tls/trust.ts';
import type { StartedMirror } from './mirror/mirrors.ts';
import type { FirstUser } from './first-user.ts';

export type ReadyMessage = {
  /** The name or address that clients use. */
  readonly host: string;
  readonly port: number;
  readonly upstream: { readonly url: string; readonly description: string };
  readonly mirrors: readonly StartedMirror[];
  /** Null when only the defaults are in effect. */
  readonly configPath: string | null;
  readonly htpasswdPath: string;
  /** Null when the certificate is the operator's own. */
  readonly caPath: string | null;
  readonly user: FirstUser;
};

/** Tells a newcomer what to know once Tidegate listens; the last line is the `docker login` command. */
export function formatReadyMessage(message: ReadyMessage): string {
  const { host, port, upstream, mirrors, configPath, htpasswdPath, caPath, user } = message;
  const registry = formatRegistry(host, port);
  const users = 'node dist/main.js user add NAME';
  const account =
    user.password === null
      ? [`users     in ${htpasswdPath}; to add one or to set a new password: ${users}`]
      : [
          '',
          formatCredentials(user.name, user.password).trimEnd(),
          `The password is shown this once. More users, or a new password: ${users}`,
        ];
  const trust =
    caPath === null
      ? []
      : [
          '',
          `Clients have to trust the CA ${caPath}`,
          ...formatDockerTrust({ caPath, host, port })
            .trimEnd()
            .split('\n')
            .map((line) => `  ${line}`),
          `  Everything else:         node dist/main.js cert trust --port ${port}`,
          '  (Docker verifies no certificate of a host on a loopback address.)',
        ];
  return [
    '',
    `Tidegate is ready at https://${registry} and runs until Ctrl-C.`,
    `console   https://${registry}/ui/`,
    `upstream  ${upstream.url}, ${upstream.description}`,
    ...mirrors.map(({ source, registry: { url, description } }) => {
      const { namespace, route } = source;
      return `mirror    ${namespace} as ${registry}/${route}/…, ${url}, ${description}`;
    }),
    `settings  ${configPath ?? 'the defaults; your own go into config/tidegate.yml, for the next start'}`,
    ...account,
    ...trust,
    ...(mirrors.length === 0
      ? []
      : [
          '',
          "For clients to pull through the mirrors by the sources' own names:",
          `  node dist/main.js mirror steps --mirror ${mirrors.map(({ source }) => source.namespace).join(',')} --host ${host} --port ${port}`,
        ]),
    '',
    `docker login ${registry} -u ${user.name}`,
    '',
  ].join('\n');
}

/** The lines from which a program can read name and password. */
export function formatCredentials(name: string, password: string): string {
  return `user: ${name}\npassword: ${password}\n`;
}
