import { hostname } from 'node:os';
import type { LoggerOptions } from 'pino';
import { kindOfLine } from './log-kind.ts';

/** The fields of the Elastic Common Schema 8 for those of log lines. */
const ecsNames: Readonly<Record<string, string>> = {
  user: 'user.name',
  method: 'http.request.method',
  bytesIn: 'http.request.body.bytes',
  bytesOut: 'http.response.body.bytes',
  bytes: 'http.request.body.bytes',
  userAgent: 'user_agent.original',
  code: 'error.code',
  reason: 'event.reason',
  result: 'event.outcome',
  host: 'server.address',
  port: 'server.port',
  file: 'file.path',
  traceId: 'trace.id',
  repository: 'container.image.name',
  upstream: 'service.target.name',
};

/** Fields that need more than another name. Index mappings refuse a line with an empty `ip`. */
const ecsForms: Readonly<Record<string, (value: unknown) => Record<string, unknown>>> = {
  durationMs: (ms) => ({ 'event.duration': Math.round(Number(ms) * 1e6) }), // nanoseconds
  status: (status) =>
    status === 0
      ? { 'event.outcome': 'unknown' }
      : {
          'http.response.status_code': status,
          'event.outcome': Number(status) < 400 ? 'success' : 'failure',
        },
  // Its own trace and span, until a trace of the client's takes their place; see server/trace-context.ts.
  requestId: (id) => ({
    'http.request.id': id,
    'trace.id': id,
    'span.id': String(id).slice(0, spanIdLength),
  }),
  client: (address) => ({ 'client.address': address, 'client.ip': String(address).replace(/%.*/s, '') }),
  tag: (tag) => ({ 'container.image.tag': [tag] }),
  digest: (digest) => ({ 'container.image.hash.all': [digest] }),
};
const spanIdLength = 16;

/** Renames a log line's fields to the Elastic Common Schema; fields without a counterpart go below `tidegate`. */
function renameFields(fields: Record<string, unknown>): Record<string, unknown> {
  const renamed: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === '') continue;
    const form = ecsForms[name];
    if (form) Object.assign(renamed, form(value));
    else if (name === 'path') renamed['method' in fields ? 'url.path' : 'file.path'] = value;
    else if (value instanceof Error) Object.assign(renamed, describeError(value));
    else if (name.includes('.')) renamed[name] = value;
    else renamed[ecsNames[name] ?? `tidegate.${name}`] = value;
  }
  return renamed;
}

function describeError({ name, message, stack }: Error): Record<string, unknown> {
  return { 'error.type': name, 'error.message': message, 'error.stack_trace': stack };
}

/** The kind of a line's event, in the schema's words. */
function describeEvent(message: unknown): Record<string, unknown> {
  const kind = kindOfLine(message);
  const dataset = { 'event.kind': 'event', 'event.dataset': `tidegate.${kind}` };
  switch (kind) {
    case 'access':
      return { ...dataset, 'event.category': ['web'], 'event.type': ['access'] };
    case 'audit':
      return {
        ...dataset,
        'event.action': message,
        'event.category': ['web'],
        'event.type': [message === 'delete' ? 'deletion' : 'change'],
      };
    case 'error':
      return dataset;
  }
}

/** pino's options for lines that Elasticsearch accepts without a pipeline. */
export const elasticCommonSchema: LoggerOptions = {
  messageKey: 'message',
  timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
  base: {
    'ecs.version': '8.11.0',
    'service.name': 'tidegate',
    'process.pid': process.pid,
    'host.hostname': hostname(),
  },
  formatters: { level: (label: string) => ({ 'log.level': label }), log: renameFields },
  hooks: {
    logMethod(args, method) {
      const [first, second] = args as unknown[];
      const message = typeof first === 'string' ? first : second;
      const given = typeof first === 'object' && !(first instanceof Error) ? first : { err: first };
      const fields = { ...describeEvent(message), ...(typeof first === 'string' ? {} : given) };
      method.apply(this, [fields, typeof message === 'string' ? message : '']);
    },
  },
};
