import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { run } from '../src/quickstart/step.mjs';

/**
 * Creates users with one password, in the format of each proxy.
 * @param {string} dir a folder of their own
 * @param {{ count: number, bcryptCost: number }} options
 * @returns {Promise<Credentials>}
 *
 * @typedef {{ bcryptCost: number, authorizations: string[], authorization: string, userAndPassword: string, htpasswd: string,
 *   plainHtpasswd: string, caddyUsers: string, haproxyUsers: string, haproxyPlainUsers: string }} Credentials
 *   authorizations: one header value a user; authorization, userAndPassword: of the first; the rest are files
 */
export async function createCredentials(dir, { count, bcryptCost }) {
  fs.mkdirSync(dir);
  const password = randomBytes(12).toString('hex');
  const names = Array.from({ length: count }, (_, i) => (i === 0 ? 'bench' : `bench${i}`));
  const line = (await run('htpasswd', ['-nbBC', String(bcryptCost), names[0], password])).trim();
  const hash = line.slice(names[0].length + 1);
  const base64 = (text) => Buffer.from(text).toString('base64');
  const write = (file, head, lineOf) => {
    const written = path.join(dir, file);
    fs.writeFileSync(written, [...head, ...names.map(lineOf), ''].join('\n'));
    return written;
  };
  const authorizations = names.map((name) => `Basic ${base64(`${name}:${password}`)}`);
  return {
    bcryptCost,
    authorizations,
    authorization: authorizations[0],
    userAndPassword: `${names[0]}:${password}`,
    htpasswd: write('htpasswd', [], (name) => `${name}:${hash}`),
    plainHtpasswd: write('htpasswd-plain', [], (name) => `${name}:{PLAIN}${password}`),
    caddyUsers: write('caddy-users', [], (name) => `${name} ${base64(hash)}`),
    // HAProxy reads no htpasswd file, but its crypt() accepts the same bcrypt hashes.
    haproxyUsers: write('haproxy-users.cfg', ['userlist users'], (name) => `  user ${name} password ${hash}`),
    haproxyPlainUsers: write(
      'haproxy-plain-users.cfg',
      ['userlist users'],
      (name) => `  user ${name} insecure-password ${password}`,
    ),
  };
}
