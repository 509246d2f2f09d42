/** The fields of the Elastic Common Schema 8 that log lines have a counterpart for. */
const ecsNames: Readonly<Record<string, string>> = {
  requestId: 'http.request.id',
  user: 'user.name',
  method: 'http.request.method',
  path: 'url.path',
  status: 'http.response.status_code',
  bytesIn: 'http.request.body.bytes',
  bytesOut: 'http.response.body.bytes',
  client: 'client.ip',
  userAgent: 'user_agent.original',
  code: 'error.code',
  reason: 'event.reason',
  host: 'server.address',
  port: 'server.port',
};

/** Names a log line's fields as the Elastic Common Schema does; what it has no name for goes below `tidegate`. */
function renameFields(fields: Record<string, unknown>): Record<string, unknown> {
  const renamed: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === null) continue;
    if (name === 'durationMs')
      renamed['event.duration'] = Math.round(Number(value) * 1e6); // nanoseconds
    else if (value instanceof Error) Object.assign(renamed, describeError(value));
    else renamed[ecsNames[name] ?? `tidegate.${name}`] = value;
  }
  return renamed;
}

function describeError({ name, message, stack }: Error): Record<string, unknown> {
  return { 'error.type': name, 'error.message': message, 'error.stack_trace': stack };
}

/** pino's options for lines that Elasticsearch takes in without a pipeline. */
export const elasticCommonSchema = {
  messageKey: 'message',
  timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
  base: { 'ecs.version': '8.11.0', 'service.name': 'tidegate', 'process.pid': process.pid },
  formatters: { level: (label: string) => ({ 'log.level': label }), log: renameFields },
};
