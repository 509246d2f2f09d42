import * as z from 'zod';

const node = String.raw`(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?`;
const form = new RegExp(
  [
    String.raw`^rediss?://${node}(?:/[0-9]{0,4})?$`,
    String.raw`^rediss?-sentinel://${node}(?:,${node})*(?:/[0-9]{0,4})?(?:\?name=[A-Za-z0-9_.-]+)?$`,
    String.raw`^rediss?-cluster://${node}(?:,${node})*/?$`,
  ].join('|'),
);

/** The address of Redis: one server, the sentinels of a group, or nodes of a cluster. */
export function redisUrl() {
  const schema = z
    .string()
    .meta({ pattern: form.source })
    .superRefine((text, context) => {
      if (form.test(text)) return;
      // The text is not repeated when it may hold a password.
      const message = text.includes('@')
        ? 'must not hold a name or password: write them as cache.redis.username and cache.redis.password'
        : `${JSON.stringify(text)} is not such a URL`;
      context.addIssue({ code: 'custom', message });
    });
  const allowed =
    'redis://HOST:PORT/DB, redis-sentinel://HOST:PORT,HOST:PORT/DB?name=NAME or redis-cluster://HOST:PORT,HOST:PORT; rediss for TLS';
  return { schema, allowed, textForm: 'text' } as const;
}
