import * as z from 'zod';
import { filePath, key, tree } from '../types/key-type.ts';

const name = text(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/,
  'is no name: letters, digits, ".", "_" and "-", a letter or digit first, 32 at most',
);
/** OpenID Connect Discovery 1.0 section 3: https, without query and fragment. */
const issuer = httpsUrl(
  /^https:\/\/[^\s\\/?#@]+(?:\/[^\s\\?#]*)?$/,
  'https://HOST[:PORT][/PATH], without query',
);
const keysUrl = httpsUrl(/^https:\/\/[^\s\\/?#@]+(?:\/[^\s\\#]*)?$/, 'https://HOST[:PORT]/…');

const issuers = z
  .array(
    z.strictObject({
      name,
      issuer,
      audience: text(/^\P{Cc}{1,255}$/u, 'is no audience: 1 to 255 characters, no control characters'),
      jwks: keysUrl.nullable().prefault(null),
      ca: filePath().schema.nullable().prefault(null),
    }),
  )
  .check((context) => {
    for (const [index, { name: own, issuer: url, audience }] of context.value.entries()) {
      const earlier = context.value.slice(0, index);
      const refuse = (field: string, message: string) =>
        context.issues.push({ code: 'custom', message, input: context.value, path: [index, field] });
      if (earlier.some((other) => other.name === own))
        refuse('name', 'is the name of an earlier issuer, too');
      if (earlier.some((other) => other.issuer === url && other.audience === audience))
        refuse('issuer', 'has an earlier name for the same audience');
    }
  });

/** `auth.oidc`: CI systems whose jobs log in with their ID tokens. */
export const oidc = key(
  {
    ...tree(
      issuers,
      'a list of issuers { name, issuer, audience, jwks, ca }; name, issuer and audience are required',
    ),
    pathMembers: ['ca'],
  },
  [],
  "CI systems whose jobs log in with their ID tokens (OpenID Connect): user oidc, the token as password. Only rules { oidc: NAME, claims: … } of the policy let a job do anything. issuer: exactly the iss of the tokens; audience: exactly their aud; jwks: the URL of the keys, null: discovery finds it; ca: PEM file with the CA certificates that verify the issuer's server, null: the public ones.",
);

function text(pattern: RegExp, fault: string) {
  return z.string().check((context) => {
    if (pattern.test(context.value)) return;
    const message = `${JSON.stringify(context.value.slice(0, 60))} ${fault}`;
    context.issues.push({ code: 'custom', message, input: context.value });
  });
}

function httpsUrl(pattern: RegExp, form: string) {
  return z.string().check((context) => {
    const { value } = context;
    if (pattern.test(value) && value.length <= 255 && URL.canParse(value)) return;
    const message = `${JSON.stringify(value.slice(0, 60))} is not such a URL: ${form}`;
    context.issues.push({ code: 'custom', message, input: value });
  });
}
