import * as z from 'zod';
import { duration, filePath, integer, key, listenHost, nullable, text } from './key-type.ts';
import { hostNames, mailAddress, mailAddresses, smtpUrl, webhookUrl } from './watch-type.ts';

/** `admin`: the listener for those who run the front door. */
export const admin = z.strictObject({
  host: key(
    listenHost(),
    '127.0.0.1',
    'Address of the admin listener: plain HTTP for /livez, /readyz, /metrics. It asks for no password: leave it on loopback, or on a network where only those are who may read it.',
  ),
  port: key(
    nullable(integer(0, 65535)),
    9090,
    'Its port. 0 takes any free one, null switches it off. One that is taken is said in the log, and Tidegate serves without it.',
  ),
  names: key(
    hostNames(),
    [],
    'Further names by which it may be asked, such as that of a container. Any other Host than its address or localhost is refused.',
  ),
});

/** `alerts`: what people are told, and how. */
export const alerts = z.strictObject({
  upstreamDownFor: key(
    duration('1ms'),
    '60s',
    'How long the upstream must have been silent before it is an alert.',
  ),
  certificateDays: key(integer(1, 365), 14, 'How many days before its end the certificate is an alert.'),
  webhook: key(
    { ...nullable(webhookUrl()), isSecret: true },
    null,
    'URL that each alert is sent to as JSON (POST). Often a secret, never printed.',
  ),
  ca: key(
    nullable(filePath()),
    null,
    'PEM file with the CA certificates that webhook and mail server are verified with, instead of the public ones.',
  ),
  smtp: z
    .strictObject({
      url: key(
        nullable(smtpUrl()),
        null,
        'Mail server for alerts. smtp is STARTTLS (port 587), smtps TLS from the first byte (465); only to a server on this machine mail goes in clear, unless alerts.ca is set.',
      ),
      username: key(
        nullable(text(/^\P{Cc}+$/u, 'text without control characters')),
        null,
        'Name for a mail server that asks for a password.',
      ),
      password: key(
        { ...nullable(text(/^\P{Cc}+$/u, 'text without control characters')), isSecret: true },
        null,
        'Password that belongs to alerts.smtp.username. Best taken from the environment, never printed.',
      ),
      from: key(nullable(mailAddress()), null, 'Address that alerts are sent from.'),
      to: key(mailAddresses(), [], 'Addresses that alerts are sent to.'),
    })
    .refine(({ url, from }) => typeof url !== 'string' || from !== null, {
      path: ['url'],
      message: 'needs alerts.smtp.from',
      when: () => true,
    })
    .refine(({ url, to }) => typeof url !== 'string' || !Array.isArray(to) || to.length > 0, {
      path: ['url'],
      message: 'needs alerts.smtp.to: at least one address',
      when: () => true,
    })
    .refine(({ username, password }) => (typeof username === 'string') === (typeof password === 'string'), {
      path: ['username'],
      message: 'belongs together with alerts.smtp.password: set both or neither',
      when: () => true,
    }),
});
