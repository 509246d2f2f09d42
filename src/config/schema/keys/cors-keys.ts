import * as z from 'zod';
import { key, listOf } from '../types/key-type.ts';

/** `cors`: whose pages may use the registry. */
export const cors = z.strictObject({
  origins: key(
    listOf(findFault, 'a list of origins such as https://ui.example.com or http://localhost:8080'),
    [],
    'Origins of web pages that may use the registry from a browser, such as a user interface on another host. Their preflights (OPTIONS without credentials) are answered, and they may read the answers. A page can then do all that its user may. Empty: none, and no CORS header is touched.',
  ),
});

function findFault(text: string): string | undefined {
  const shown = JSON.stringify(text.slice(0, 100));
  if (text === '*' || text === 'null')
    return `${shown} would let any web page act with the credentials of whoever looks at it: name the origins`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isOrigin =
    url !== undefined &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    !url.hostname.includes('*') &&
    /^https?:\/\/[^/?#@\\\s]+$/i.test(text);
  return isOrigin ? undefined : `${shown} is not an origin: write only scheme, host and port, without a path`;
}
