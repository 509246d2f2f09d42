/** A request in the access log, in either format (`json` and `ecs`). */
export type LoggedRequestLine = {
  readonly user: string | null;
  /** The client's address. */
  readonly client: string | null;
  readonly method: string;
  readonly path: string | null;
  readonly status: number;
  readonly code: string | null;
  readonly reason: string | null;
};

/** The path of each field in both formats. */
const fields = {
  json: {
    user: 'user',
    client: 'client',
    method: 'method',
    path: 'path',
    status: 'status',
    code: 'code',
    reason: 'reason',
  },
  ecs: {
    user: 'user.name',
    client: 'client.address',
    method: 'http.request.method',
    path: 'url.path',
    status: 'http.response.status_code',
    code: 'error.code',
    reason: 'event.reason',
  },
} as const;

/** Parses a line: a request; `other` for another kind of line; `broken` for anything that is not a whole line of a log. */
export function parseLoggedRequest(text: string): LoggedRequestLine | 'other' | 'broken' {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    return 'broken';
  }
  if (typeof line !== 'object' || line === null || Array.isArray(line)) return 'broken';
  const record = line as Readonly<Record<string, unknown>>;
  const isEcs = 'ecs.version' in record;
  const message = record[isEcs ? 'message' : 'msg'];
  if (typeof message !== 'string') return 'broken';
  if (message !== 'request') return 'other';
  const names = fields[isEcs ? 'ecs' : 'json'];
  const textOf = (name: keyof typeof names): string | null => {
    const value = record[names[name]];
    return typeof value === 'string' ? value : null;
  };
  const method = textOf('method');
  if (method === null) return 'broken';
  // The Elastic format has no status if no answer began.
  const status = record[names.status] ?? 0;
  if (typeof status !== 'number') return 'broken';
  return {
    user: textOf('user'),
    client: textOf('client'),
    method,
    path: textOf('path'),
    status,
    code: textOf('code'),
    reason: textOf('reason'),
  };
}
