import { isIP } from 'node:net';
import { canonicalHost, hostPattern } from '../http/web-address.ts';

/** Where plain HTTP leads. */
export type RedirectPlace = {
  /** The host names and addresses that clients use, the first one in place of any other. */
  readonly names: readonly string[];
  /** The port of https, as clients reach it. */
  readonly port: number;
};

/** The characters of a request target in origin-form (RFC 9112 section 3.2.1), with none that could end a header. */
const targetPattern = /^\/[\x21-\x7e]*$/;

/** The address over https of what a client asks for; null: that is no target, or there is no name to lead to. */
export function findRedirect(
  host: string | undefined,
  target: string,
  { names, port }: RedirectPlace,
): string | null {
  const name = findName(host, names);
  if (name === null || !targetPattern.test(target)) return null;
  return `https://${isIP(name) === 6 ? `[${name}]` : name}${port === 443 ? '' : `:${port}`}${target}`;
}

/** A Host that is none of ours may be anybody's, and must not be led to. */
function findName(host: string | undefined, names: readonly string[]): string | null {
  const [, asked = ''] = hostPattern.exec(host ?? '') ?? [];
  const wanted = canonicalHost(asked).replace(/^\[|\]$/g, '');
  const isOurs = names.some((name) => name === wanted || (name.startsWith('*.') && covers(name, wanted)));
  if (isOurs) return wanted;
  return names.find((name) => !name.startsWith('*.')) ?? null;
}

/** A wildcard stands for one label (RFC 9525 section 6.3). */
function covers(wildcard: string, name: string): boolean {
  return name.replace(/^[^.]*/, '') === wildcard.slice(1);
}
