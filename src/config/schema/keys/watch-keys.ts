import * as z from 'zod';
import { duration, filePath, integer, key, listenHost, nullable, text } from '../types/key-type.ts';
import { hostNames, mailAddress, mailAddresses, smtpUrl, webhookUrl } from '../types/watch-type.ts';

/** `admin`: the listener for operators. */
export const admin = z.strictObject({
  host: key(
    listenHost(),
    '127.0.0.1',
    'Address of the admin listener: plain HTTP for /livez, /readyz, /metrics, without a password. Keep it on loopback, or on a network where everyone may read them.',
  ),
  port: key(
    nullable(integer(0, 65535)),
    9090,
    'Its port. 0 takes any free one, null turns the listener off. If the port is in use, Tidegate logs that and serves without it.',
  ),
  names: key(
    hostNames(),
    [],
    'More host names for the admin listener, such as that of a container. A Host other than these, its address and localhost is refused.',
  ),
});

/** `alerts`: which alerts are sent, and how. */
export const alerts = z.strictObject({
  upstreamDownFor: key(
    duration('1ms'),
    '60s',
    'How long the upstream must be silent before an alert is sent.',
  ),
  certificateDays: key(integer(1, 365), 14, 'How many days before the certificate expires an alert is sent.'),
  webhook: key(
    { ...nullable(webhookUrl()), isSecret: true },
    null,
    'URL that receives each alert as JSON (POST). Often a secret, so it is never printed.',
  ),
  ca: key(
    nullable(filePath()),
    null,
    'PEM file with the CA certificates that verify webhook and mail server, instead of the public ones.',
  ),
  smtp: z
    .strictObject({
      url: key(
        nullable(smtpUrl()),
        null,
        'Mail server for alerts. smtp is STARTTLS (port 587), smtps TLS from the first byte (465). Only a server on this machine may be used without TLS, and not if alerts.ca is set.',
      ),
      username: key(
        nullable(text(/^\P{Cc}+$/u, 'text without control characters')),
        null,
        'User name for a mail server that requires credentials.',
      ),
      password: key(
        { ...nullable(text(/^\P{Cc}+$/u, 'text without control characters')), isSecret: true },
        null,
        'Password for alerts.smtp.username. Take it from the environment; it is never printed.',
      ),
      from: key(nullable(mailAddress()), null, 'Sender address of alerts.'),
      to: key(mailAddresses(), [], 'Recipients of alerts.'),
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
