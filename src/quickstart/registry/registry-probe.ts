import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { refuseUpgrade } from '../../system/unasked-upgrade.ts';

const maxBodyBytes = 65_536;

/**
 * Whether a registry answers at an origin: `GET /v2/` is 200 or 401 with the registry's header or a JSON body (OCI
 * distribution-spec, "Determining Support").
 * @param ca PEM to verify an https origin with; null: the public CAs.
 */
export async function answersLikeRegistry(
  url: string,
  ca: string | null,
  timeoutMs: number,
): Promise<boolean> {
  const get = url.startsWith('https:') ? httpsGet : httpGet;
  return new Promise((resolve) => {
    const options = { agent: false, signal: AbortSignal.timeout(timeoutMs), ...(ca === null ? {} : { ca }) };
    const request = get(new URL('/v2/', url), options, (response) => {
      const { statusCode, headers } = response;
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
        if (body.length > maxBodyBytes) request.destroy();
      });
      response.on('error', () => resolve(false));
      response.on('end', () => {
        const isRegistry = 'docker-distribution-api-version' in headers || isJson(body);
        resolve((statusCode === 200 || statusCode === 401) && isRegistry);
      });
    });
    request.on('error', () => resolve(false));
    refuseUpgrade(request);
  });
}

function isJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object';
  } catch {
    return false;
  }
}
