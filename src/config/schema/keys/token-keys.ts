import { duration, filePaths, key, lifetime, oneOf } from '../types/key-type.ts';

/** Keys of `auth` for tokens (distribution, "Token Authentication"). */
export const tokenKeys = {
  tokens: key(
    oneOf('auto', 'on', 'off'),
    'auto',
    'Whether clients are told to fetch a token from /token instead of sending the password with every request. "auto": when a policy rule allows clients without credentials anything, since Docker pulls without a login only by token. Passwords are always accepted.',
  ),
  tokenKeys: key(
    filePaths(),
    [],
    'Files with one secret of 32 bytes or more each (openssl rand -base64 48), the same on all instances. The first signs tokens and upload marks; all verify them. To rotate: append the new file on all instances, then move it to the front, then remove the old one. Without this key a random secret is made at each start, and docker login keeps the password because it gets no refresh token.',
  ),
  tokenTtl: key(
    duration('60s', '1h'),
    '5m',
    'Lifetime of a token. Policy and htpasswd file are still checked with every request.',
  ),
  uploadGrace: key(
    lifetime('0', '7d'),
    '6h',
    'How long after its start an upload may continue with the token that began it, even if that token has expired: clients renew tokens only between requests. Covers PATCH, PUT and GET of that upload, nothing else. A removed user, a new password or a lost right ends it at once. 0: expired tokens are never accepted.',
  ),
  refreshTokenTtl: key(
    lifetime('0', '3650d'),
    '30d',
    'Lifetime of a refresh token, which docker login keeps instead of the password where auth.tokenKeys is set. A new password ends it at once. 0: none are issued.',
  ),
};
