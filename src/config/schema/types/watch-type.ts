import * as z from 'zod';
import { listOf, text } from './key-type.ts';

/** An address of RFC 5321 section 4.1.2 in its usual form, without quotes and comments. */
const mailPattern = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/;
const namePattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?$/;
const mailAllowed = 'a mail address such as registry@example.com';

/** A mail address. */
export function mailAddress() {
  return text(mailPattern, mailAllowed);
}

/** Mail addresses. */
export function mailAddresses() {
  return listOf(
    (address) =>
      mailPattern.test(address) ? undefined : `${JSON.stringify(address.slice(0, 60))} is not ${mailAllowed}`,
    'a list of mail addresses',
  );
}

/** Host names, as in a Host header without the port. */
export function hostNames() {
  return listOf(
    (name) =>
      namePattern.test(name) ? undefined : `${JSON.stringify(name.slice(0, 60))} is not a host name`,
    'a list of host names without ports',
  );
}

/** The URL to which alerts are POSTed. The value is never repeated, since it may be a secret. */
export function webhookUrl() {
  return url(/^https?:\/\/[^/\\\s@]+(?:\/[\x21-\x7e]*)?$/i, 'http://HOST[:PORT]/… or https://HOST[:PORT]/…');
}

/** The mail server. */
export function smtpUrl() {
  return url(/^smtps?:\/\/[^/\\\s?#@]+\/?$/i, 'smtp://HOST[:PORT] or smtps://HOST[:PORT]');
}

function url(form: RegExp, allowed: string) {
  const schema = z
    .string()
    .meta({ pattern: form.source })
    .superRefine((value, context) => {
      if (form.test(value) && URL.canParse(value)) return;
      const message = 'is not such a URL (a name and a password are keys of their own)';
      context.addIssue({ code: 'custom', message });
    });
  return { schema, allowed, textForm: 'text' } as const;
}
