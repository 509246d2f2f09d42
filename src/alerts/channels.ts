import type { Channel } from './alert.ts';
import { createWebhook } from './webhook.ts';

/** The alerts' part of the configuration, with the content of the file that it names. */
export type ChannelSettings = {
  readonly webhook: string | null;
  /** PEM certificates that webhook and mail server are verified with; null for the public ones. */
  readonly ca: string | null;
  readonly smtp: {
    readonly url: string | null;
    readonly username: string | null;
    readonly password: string | null;
    readonly from: string | null;
    readonly to: readonly string[];
  };
};

/** Opens the channels that the configuration names; none is none. */
export async function openChannels({ webhook, ca, smtp }: ChannelSettings): Promise<Channel[]> {
  const channels: Channel[] = [];
  if (webhook !== null) channels.push(createWebhook(webhook, ca));
  if (smtp.url !== null && smtp.from !== null) {
    const { createMail } = await import('./mail.ts'); // and nodemailer with it
    channels.push(createMail({ ...smtp, url: smtp.url, from: smtp.from, ca }));
  }
  return channels;
}
