import { isIPv4 } from 'node:net';
import { createTransport } from 'nodemailer';
import type { Alert, AlertKind, Channel } from './alert.ts';

export type MailOptions = {
  /** smtp:// or smtps://, a host, and a port unless it is the usual one (587, 465). */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly from: string;
  readonly to: readonly string[];
  /** PEM certificates to verify the server with, instead of the public ones; null for those. */
  readonly ca: string | null;
};

/** How long the server may be silent, in milliseconds. */
const silenceMs = 10_000;
/** How long a whole message may take, in milliseconds. */
const timeoutMs = 60_000;

const titles: Readonly<Record<AlertKind, string>> = {
  'upstream-down': 'the registry does not answer',
  'route-down': 'the registry of a route does not answer',
  'certificate-ending': 'the certificate expires soon',
  'certificate-ended': 'the certificate has expired',
  'certificate-order': 'no certificate can be obtained',
  'clean-failed': 'the clean-up failed',
  'crash-loop': 'a worker process ends again and again',
  'lock-outs': 'wrong passwords, somebody was locked out',
  test: 'test',
};

/** Creates the channel that sends each alert as a mail. */
export function createMail(options: MailOptions): Channel {
  const transport = createTransport(toTransport(options));
  return {
    name: 'mail',
    send: async (alert) => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(
          () => reject(new Error(`the mail server took more than ${timeoutMs / 1000} seconds`)),
          timeoutMs,
        ).unref();
      });
      const sent = transport.sendMail({
        from: { name: 'Tidegate', address: options.from },
        to: [...options.to],
        subject: formatSubject(alert),
        text: formatText(alert),
        // RFC 3834 section 5: no automatic replies.
        headers: { 'Auto-Submitted': 'auto-generated' },
      });
      await Promise.race([sent, late]).finally(() => clearTimeout(timer));
    },
  };
}

/**
 * The TLS settings for the server. Mail leaves this machine only over TLS with a verified certificate. To a server on
 * loopback it is sent in clear, since its certificate is rarely verifiable, unless a CA is configured for it.
 */
export function toTransport({ url, username, password, ca }: MailOptions) {
  const { protocol, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const secure = protocol === 'smtps:';
  const isLoopback = host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
  const inClear = !secure && isLoopback && ca === null;
  return {
    host,
    port: port === '' ? (secure ? 465 : 587) : Number(port),
    secure,
    requireTLS: !secure && !inClear,
    ignoreTLS: inClear,
    tls: { rejectUnauthorized: true, minVersion: 'TLSv1.2' as const, ...(ca === null ? {} : { ca }) },
    ...(username === null || password === null ? {} : { auth: { user: username, pass: password } }),
    connectionTimeout: silenceMs,
    greetingTimeout: silenceMs,
    socketTimeout: silenceMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function formatSubject({ kind, upstream, state, host }: Alert): string {
  const route = upstream === null ? '' : ` (${upstream})`;
  return `[Tidegate ${host}] ${state === 'resolved' ? 'over: ' : ''}${titles[kind]}${route}`;
}

function formatText({ text, startedAt, endedAt, host, incident }: Alert): string {
  const lines = [`host: ${host}`, `since: ${startedAt}`];
  if (endedAt !== null) lines.push(`until: ${endedAt}`);
  return [text, '', ...lines, `incident: ${incident}`, ''].join('\n');
}
