import { quote, trustCommands } from '../../tls/trust.ts';
import type { Chrome } from '../components/chrome.ts';
import { Command, Copyable } from '../components/command.tsx';
import { Fill } from '../components/fill.tsx';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';

export type ConnectPageProps = {
  readonly chrome: Chrome;
  /** The CA to trust; null: clients know who signed the certificate. */
  readonly authority: {
    /** SHA-256, in pairs of hexadecimal digits with colons between. */
    readonly fingerprint: string;
    readonly expiresMs: number;
  } | null;
};

const file = 'ca.crt';

/** How each kind of client comes to trust this host, and logs in. For people without a login as well. */
export function ConnectPage({ chrome, authority }: ConnectPageProps) {
  const { t, host } = chrome;
  return (
    <Layout chrome={chrome} title={t.connect.title} section="connect">
      <h1>{t.connect.title}</h1>
      <p>
        <Fill text={t.connect.lead} parts={[<code>{host}</code>]} />
      </p>
      {authority === null ? (
        <p>{t.connect.public}</p>
      ) : (
        <>
          <Authority chrome={chrome} authority={authority} />
          <TrustSteps chrome={chrome} />
        </>
      )}
      <Login chrome={chrome} />
    </Layout>
  );
}

type AuthorityProps = {
  readonly chrome: Chrome;
  readonly authority: NonNullable<ConnectPageProps['authority']>;
};

function Authority({ chrome, authority }: AuthorityProps) {
  const { t, f, host } = chrome;
  return (
    <section aria-labelledby="get">
      <h2 id="get">{t.connect.get}</h2>
      <p>{t.connect.getWhy}</p>
      <p>
        <a class="button" href={links.authority} download={file}>
          {t.connect.download}
        </a>
      </p>
      <Command label={t.connect.orCommand} text={`curl -k -o ${file} https://${host}${links.authority}`} />
      <h3>{t.connect.check}</h3>
      <p>{t.connect.checkWhy}</p>
      <Command label="OpenSSL" text={`openssl x509 -in ${file} -noout -fingerprint -sha256`} />
      <Command label="Windows" text={`certutil -dump ${file}`} />
      <dl class="facts">
        <div class="wide">
          <dt>{t.connect.fingerprint}</dt>
          <dd>
            <Copyable text={authority.fingerprint} />
          </dd>
        </div>
        <div>
          <dt>{t.connect.expires}</dt>
          <dd>{f.date(authority.expiresMs)}</dd>
        </div>
      </dl>
    </section>
  );
}

function TrustSteps({ chrome: { t, host } }: { readonly chrome: Chrome }) {
  const commands = trustCommands(file, host);
  const clients = [
    ['docker', t.connect.docker, t.connect.atOnce, commands.docker],
    ['podman', t.connect.podman, t.connect.withoutRoot, commands.containers],
    ['containerd', t.connect.containerd, t.connect.containerdConfig, commands.containerd],
    ['debian', t.connect.debian, t.connect.wholeSystem, commands.debian],
    ['redhat', t.connect.redHat, t.connect.wholeSystem, commands.redHat],
    ['macos', t.connect.macOs, t.connect.desktop, commands.macOs],
    ['windows', t.connect.windows, t.connect.administrator, commands.windows],
    ['curl', t.connect.curl, t.connect.curlHint, commands.curl],
  ] as const;
  return (
    <section aria-labelledby="trust">
      <h2 id="trust">{t.connect.trust}</h2>
      <p>{t.connect.trustWhy}</p>
      <nav class="jump" aria-label={t.connect.clients}>
        <ul>
          {clients.map(([id, name]) => (
            <li key={id}>
              <a href={`#${id}`}>{name}</a>
            </li>
          ))}
        </ul>
      </nav>
      {clients.map(([id, name, hint, lines]) => (
        <div key={id} class="client" id={id}>
          <h3>{name}</h3>
          <p class="muted">{hint}</p>
          <Command text={lines.join('\n')} />
        </div>
      ))}
    </section>
  );
}

function Login({ chrome: { t, host, visitor } }: { readonly chrome: Chrome }) {
  const user = visitor === null ? '' : ` -u ${quote(visitor.name)}`;
  return (
    <section aria-labelledby="login">
      <h2 id="login">{t.connect.login}</h2>
      <p>{t.connect.loginWhy}</p>
      <div class="commands">
        <Command label="Docker" text={`docker login${user} ${host}`} />
        <Command label="Podman" text={`podman login${user} ${host}`} />
        <Command label="Skopeo" text={`skopeo login${user} ${host}`} />
      </div>
    </section>
  );
}
