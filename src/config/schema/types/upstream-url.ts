import * as z from 'zod';

const allowed = 'http://HOST[:PORT] or https://HOST[:PORT]';

/** The registry's address: only scheme, host and port, since every path is forwarded as the client sent it. */
export function upstreamUrl() {
  const schema = z
    .string()
    .meta({ pattern: '^[Hh][Tt][Tt][Pp][Ss]?://[^/?#\\\\@\\s]+/?$' })
    .transform((text, context) => {
      const fault = findFault(text);
      if (fault === undefined) return new URL(text).origin;
      context.addIssue({ code: 'custom', message: fault });
      return z.NEVER;
    });
  return { schema, allowed, textForm: 'text' } as const;
}

/** Never repeats the text when it may hold a password. */
function findFault(text: string): string | undefined {
  if (text.includes('@')) {
    return 'must not hold a name or password: write them as upstream.username and upstream.password';
  }
  const shown = JSON.stringify(text);
  // The URL parser repairs mistakes (blanks, backslashes, a missing slash): refuse them first.
  if (!/^https?:\/\/[^/\\\s]/i.test(text))
    return `${shown} does not start with http:// or https:// and a host`;
  if (/[?#]/.test(text)) return `${shown} must not hold a query or a fragment`;
  if (!/^https?:\/\/[^/\\\s]+\/?$/i.test(text)) {
    return `${shown} must not hold a path: paths are forwarded as the client sent them`;
  }
  if (!URL.canParse(text) || /:0*\/?$/.test(text)) return `${shown} is not a URL with a valid host and port`;
  return undefined;
}
