import * as z from 'zod';
import { filePath, folderPath, key, listOf, nullable, oneOf, text } from '../types/key-type.ts';
import { mailAddress } from '../types/watch-type.ts';

/** RFC 1123 section 2.1, in lower case, with a dot: no CA vouches for a name without one, or for one that ends in a number. */
const hostPattern =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Let's Encrypt's limit. */
const maxHosts = 100;

function describeHost(host: string): string | undefined {
  if (host.startsWith('*.'))
    return `${host}: a wildcard needs a check by DNS, which is not supported; list the names`;
  if (host.toLowerCase() !== host) return `${host}: write it in lower case`;
  return hostPattern.test(host)
    ? undefined
    : `${JSON.stringify(host.slice(0, 60))} is not a public host name`;
}

const hosts = listOf(describeHost, 'a list of host names, such as registry.example.com');

const directoryUrl = text(/^https:\/\/[^\s\\/?#@]+\/[^\s\\#]*$/, 'https://HOST[:PORT]/…');

/** `tls.acme`: a certificate that Tidegate orders and renews by itself. */
export const acme = z.strictObject({
  hosts: key(
    {
      ...hosts,
      schema: hosts.schema
        .max(maxHosts)
        .refine((names) => new Set(names).size === names.length, { message: 'names a host twice' }),
    },
    [],
    'Host names to order a certificate for, by ACME (RFC 8555), instead of tls.cert and tls.key. The CA must reach this machine by each of them. Empty: none is ordered.',
  ),
  email: key(
    nullable(mailAddress()),
    null,
    'Address that the CA may write to about the account. Not every CA uses it.',
  ),
  directory: key(
    directoryUrl,
    'https://acme-v02.api.letsencrypt.org/directory',
    "The CA's ACME directory. For trials: https://acme-staging-v02.api.letsencrypt.org/directory.",
  ),
  ca: key(
    nullable(filePath()),
    null,
    "PEM file with the CA certificates that verify the directory's server, instead of the public ones: for an ACME server of your own.",
  ),
  challenge: key(
    oneOf('tls-alpn-01', 'http-01'),
    'tls-alpn-01',
    'How the CA checks that the hosts are yours: over TLS on their port 443, which must lead to listen.port, or over HTTP on their port 80, which must lead to listen.httpPort.',
  ),
  keyType: key(
    oneOf('EC256', 'EC384', 'RSA2048', 'RSA4096'),
    'EC256',
    "Kind of the certificate's key. A new one is made with each certificate.",
  ),
  dir: key(
    nullable(folderPath()),
    null,
    'Folder for the account, the certificate and their keys. Instances that serve one name share it. null: acme in state.dir.',
  ),
  externalAccount: z
    .strictObject({
      keyId: key(
        nullable(text(/^[\x21-\x7e]{1,255}$/, 'the id as the CA gives it')),
        null,
        'Id of the key that binds the account to one at the CA (external account binding).',
      ),
      hmacKey: key(
        { ...nullable(text(/^[A-Za-z0-9_-]{16,}={0,2}$/, 'base64url, as the CA gives it')), isSecret: true },
        null,
        'That key, in base64url. Take it from the environment; it is never printed.',
      ),
    })
    .refine(({ keyId, hmacKey }) => (typeof keyId === 'string') === (typeof hmacKey === 'string'), {
      path: ['keyId'],
      message: 'belongs together with tls.acme.externalAccount.hmacKey: set both or neither',
      when: () => true,
    }),
});
