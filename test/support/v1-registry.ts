import { chunked, head, values } from './http-message.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from './scripted-upstream.ts';

/** A stand-in for the first docker-registry, since no v1 server is available. */
export type V1Registry = {
  readonly url: string;
  /** The faults that it found in requests. */
  readonly complaints: readonly string[];
  /** Tokens it has issued, in order. */
  readonly tokens: readonly string[];
  readonly requests: ScriptedUpstream['requests'];
  close(): Promise<void>;
};

/**
 * Starts it: `_ping`, the session of a push (token, cookies, endpoints) and the files of an image, with the rules of
 * the first registry protocol checked on each request.
 */
export async function startV1Registry(): Promise<V1Registry> {
  const complaints: string[] = [];
  const tokens: string[] = [];
  const files = new Map<string, Buffer>();
  const json = ['Content-Type: application/json', 'X-Docker-Registry-Version: 0.9.1'];
  const ok = (body: string | Buffer, ...lines: string[]) => [
    head('HTTP/1.1 200 OK', ...json, ...lines, `Content-Length: ${body.length}`),
    body,
  ];

  const answerTo = async (request: UpstreamRequest) => {
    const [method = '', target = ''] = request.startLine.split(' ');
    const { body } = await request.body();
    const one = (name: string): string => {
      const found = values(request, name);
      if (found.length > 1) complaints.push(`${request.startLine}: ${name} came ${found.length} times`);
      return found[0] ?? '';
    };
    const authorization = one('authorization');
    if (/^basic/i.test(authorization)) complaints.push(`${request.startLine}: Basic came through`);
    if (target.endsWith('/_ping')) return ok('true');
    if (method === 'PUT' && /^\/v1\/repositories\/.+\/(images)?$/.test(target)) {
      if (one('x-docker-token') !== 'true') complaints.push(`${request.startLine}: no X-Docker-Token: true`);
      const token = `signature=${tokens.length}abc,repository="library/app",access=write`;
      tokens.push(token);
      return ok(
        '""',
        `WWW-Authenticate: Token ${token}`,
        `X-Docker-Token: ${token}`,
        // The registry builds it from Host, and the client uses it next.
        `X-Docker-Endpoints: ${one('host')}`,
        'Set-Cookie: session=s1; Path=/',
        'Set-Cookie: node=n1',
      );
    }
    if (target.startsWith('/v1/images/')) {
      if (authorization !== '' && !tokens.some((token) => authorization === `Token ${token}`))
        complaints.push(`${request.startLine}: a token that was never issued came through`);
      if (method === 'PUT') {
        files.set(target, body);
        return ok('true', `X-Cookie-Seen: ${one('cookie')}`);
      }
      const file = files.get(target);
      if (file === undefined) {
        return [
          head('HTTP/1.1 404 NOT FOUND', ...json, 'Transfer-Encoding: chunked'),
          chunked('{"error": "Image not found"}'),
        ];
      }
      return ok(file, `X-Docker-Size: ${file.length}`);
    }
    return ok('{}');
  };
  const upstream = await startUpstream({
    script: async (request) => request.answer(...(await answerTo(request))),
  });
  return {
    url: upstream.url,
    complaints,
    tokens,
    requests: upstream.requests,
    close: () => upstream.close(),
  };
}
