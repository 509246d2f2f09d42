import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import type { Answer } from './entry.ts';

/** Whether all clients with the same request may get it: a whole answer or an error, with nothing meant for one client. */
export function isShareable({ status, rawHeaders }: Answer): boolean {
  if ((status !== 200 && status < 400) || has(rawHeaders, 'set-cookie', 'x-docker-token')) return false;
  const vary = headerValues(rawHeaders, 'vary').flatMap((value) => value.split(','));
  if (vary.some((name) => name.trim().toLowerCase() !== 'accept')) return false;
  return !/\bprivate\b/i.test(headerValues(rawHeaders, 'cache-control').join());
}

function has(rawHeaders: RawHeaders, ...names: string[]): boolean {
  return names.some((name) => headerValues(rawHeaders, name).length > 0);
}
