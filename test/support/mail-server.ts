import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';

export type ReceivedMail = {
  readonly from: string;
  readonly to: readonly string[];
  /** The user who logged in; null: nobody. */
  readonly user: string | null;
  /** Whether it came over TLS. */
  readonly secure: boolean;
  /** Headers and body. */
  readonly text: string;
};

/** A real mail server on loopback that keeps what it receives. */
export type MailServer = {
  readonly port: number;
  readonly mails: readonly ReceivedMail[];
  /** The passwords that it received. */
  readonly passwords: readonly string[];
  close(): Promise<void>;
};

/**
 * Starts a mail server.
 * @param options tls: TLS from the first byte, with this certificate; startTls: TLS on request; user: the name and password that it requires; refusals: how many mails it refuses at first
 */
export async function startMailServer(options: {
  startTls?: { key: string; cert: string };
  tls?: { key: string; cert: string };
  user?: { name: string; password: string };
  refusals?: number;
}): Promise<MailServer> {
  const mails: ReceivedMail[] = [];
  const passwords: string[] = [];
  let refusals = options.refusals ?? 0;
  const tls = options.tls ?? options.startTls;
  const disabled = [...(options.startTls ? [] : ['STARTTLS']), ...(options.user ? [] : ['AUTH'])];
  const server = new SMTPServer({
    secure: options.tls !== undefined,
    ...(tls ?? {}),
    disabledCommands: disabled,
    authOptional: options.user === undefined,
    allowInsecureAuth: true, // so that a client that would show its password in clear is found out
    disableReverseLookup: true,
    logger: false,
    onAuth: ({ username, password }, _session, callback) => {
      passwords.push(password ?? '');
      if (username === options.user?.name && password === options.user?.password)
        callback(null, { user: username });
      else callback(new Error('wrong name or password'));
    },
    onData: (stream, session, callback) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (refusals > 0) {
          refusals -= 1;
          callback(Object.assign(new Error('try again later'), { responseCode: 451 }));
          return;
        }
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          user: typeof session.user === 'string' ? session.user : null,
          secure: session.secure,
          text: Buffer.concat(chunks).toString(),
        });
        callback();
      });
    },
  });
  server.on('error', () => {}); // a client that does not like our certificate
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return {
    port: (listening.address() as AddressInfo).port,
    mails,
    passwords,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
