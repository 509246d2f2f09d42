import { duration, filePaths, key, lifetime, oneOf } from './key-type.ts';

/** Keys of `auth` for tokens (distribution, "Token Authentication"): they stand beside the others there. */
export const tokenKeys = {
  tokens: key(
    oneOf('auto', 'on', 'off'),
    'auto',
    'Whether clients are told to fetch a token from /token instead of sending the password with every request. "auto": when a rule of the policy allows anonymous clients anything, since Docker can only pull without a login by such tokens. Passwords are taken in any case.',
  ),
  tokenKeys: key(
    filePaths(),
    [],
    'Files with a secret of 32 bytes or more each (openssl rand -base64 48), the same on all instances: the first signs tokens and the marks of uploads under a policy, all verify them, so a new one is put at the end on all instances, then in front, and the old one is removed later. Without any, a random one is made at each start; then docker login is given no refresh token, and keeps the password.',
  ),
  tokenTtl: key(
    duration('60s', '1h'),
    '5m',
    'How long a token is good for. The policy and the htpasswd file are asked anew with every request.',
  ),
  refreshTokenTtl: key(
    lifetime('0', '3650d'),
    '30d',
    'How long a refresh token is good for, which docker login keeps in place of the password where there are auth.tokenKeys. A new password ends it at once. 0: none are given, and the password is kept.',
  ),
};
