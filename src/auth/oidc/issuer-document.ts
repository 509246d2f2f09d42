import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { refuseUpgrade } from '../../system/unasked-upgrade.ts';
import { CollectedBytes } from '../../system/collected-bytes.ts';

export type DocumentOptions = {
  /** PEM of the CAs that verify the server, instead of the public ones; null: the public ones. */
  readonly ca: string | null;
  /** The largest accepted document. */
  readonly maxBytes: number;
  /** Aborts the request at any point. */
  readonly signal: AbortSignal;
};

/**
 * Fetches a JSON document over https: one request, no redirects.
 * @throws Error whose message says why it failed
 */
export async function readIssuerDocument(url: URL, options: DocumentOptions): Promise<unknown> {
  const asked = request(url, {
    agent: false,
    signal: options.signal,
    rejectUnauthorized: true,
    ...(options.ca === null ? {} : { ca: options.ca }),
    headers: { Accept: 'application/json', 'User-Agent': 'tidegate' },
  });
  asked.on('error', () => {}); // one that comes before the answer rejects below, too
  refuseUpgrade(asked);
  asked.end();
  try {
    const [response] = (await once(asked, 'response', { signal: options.signal })) as [IncomingMessage];
    const { statusCode = 0 } = response;
    if (statusCode >= 300 && statusCode < 400)
      throw new Error(`it answered ${statusCode}, and redirects are not followed`);
    if (statusCode !== 200) throw new Error(`it answered ${statusCode}`);
    return parseJson(await readBody(response, options.maxBytes));
  } finally {
    asked.destroy();
  }
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const body = new CollectedBytes();
  for await (const part of response as AsyncIterable<Buffer>) {
    if (body.length + part.length > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
    body.add(part);
  }
  return body.read();
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Error('it is not JSON');
  }
}
