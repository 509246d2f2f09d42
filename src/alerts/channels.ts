import { OperatorError } from '../operator-error.ts';
import { readRegularFile } from '../regular-file.ts';
import type { Channel } from './alert.ts';
import { createWebhook } from './webhook.ts';

/** The alerts' part of the configuration. */
export type ChannelSettings = {
  readonly webhook: string | null;
  readonly ca: string | null;
  readonly smtp: {
    readonly url: string | null;
    readonly username: string | null;
    readonly password: string | null;
    readonly from: string | null;
    readonly to: readonly string[];
  };
};

/** Opens the channels that the configuration names; none is none. @throws OperatorError when alerts.ca cannot be read. */
export async function openChannels({ webhook, ca, smtp }: ChannelSettings): Promise<Channel[]> {
  const pem = ca === null ? null : await loadCa(ca);
  const channels: Channel[] = [];
  if (webhook !== null) channels.push(createWebhook(webhook, pem));
  if (smtp.url !== null && smtp.from !== null) {
    const { createMail } = await import('./mail.ts'); // and nodemailer with it
    channels.push(createMail({ ...smtp, url: smtp.url, from: smtp.from, ca: pem }));
  }
  return channels;
}

async function loadCa(path: string): Promise<string> {
  let pem: string;
  try {
    pem = await readRegularFile(path);
  } catch (error) {
    throw new OperatorError(
      `Cannot read ${path}: ${(error as Error).message}; set alerts.ca to the PEM file of the CA that signed the certificate of webhook or mail server.`,
    );
  }
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  // Node would take it for no CA at all, and trust every public one.
  throw new OperatorError(`${path} holds no certificate in PEM form: set alerts.ca to a file that does.`);
}
