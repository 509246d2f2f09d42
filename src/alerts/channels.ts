import type { Channel } from './alert.ts';
import { createWebhook } from './webhook.ts';

/** The configuration of alerts, with the content of its CA file. */
export type ChannelSettings = {
  readonly webhook: string | null;
  /** PEM certificates to verify webhook and mail server with; null for the public ones. */
  readonly ca: string | null;
  readonly smtp: {
    readonly url: string | null;
    readonly username: string | null;
    readonly password: string | null;
    readonly from: string | null;
    readonly to: readonly string[];
  };
};

/** Opens the configured channels. */
export async function openChannels({ webhook, ca, smtp }: ChannelSettings): Promise<Channel[]> {
  const channels: Channel[] = [];
  if (webhook !== null) channels.push(createWebhook(webhook, ca));
  if (smtp.url !== null && smtp.from !== null) {
    const { createMail } = await import('./mail.ts'); // loads nodemailer only here
    channels.push(createMail({ ...smtp, url: smtp.url, from: smtp.from, ca }));
  }
  return channels;
}
