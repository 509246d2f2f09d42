import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { copyCertificate } from './certificate-files.ts';
import type { Json } from './issuer.ts';
import { root, stop } from './processes.ts';

/** oidc-provider, in a process of its own. */
export type RealIssuer = {
  readonly url: string;
  readonly caPath: string;
  /** An ID token for that audience with these claims besides. */
  token(audience: string, claims: Json): Promise<string>;
  stop(): Promise<void>;
};

export async function startRealIssuer(): Promise<RealIssuer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-issuer-'));
  await copyCertificate(dir, ['localhost']);
  const file = (name: string) => path.join(dir, name);
  const script = `${root}test/support/oidc-provider.mjs`;
  const child = spawn(process.execPath, [script, file('server.crt'), file('server.key')], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [url] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const ca = readFileSync(file('ca.crt'));
  return {
    url,
    caPath: file('ca.crt'),
    token: async (audience, claims) => {
      const form = new URLSearchParams({
        grant_type: 'urn:example:job',
        client_id: audience,
        claims: JSON.stringify(claims),
      });
      const asked = request(`${url}/token`, {
        method: 'POST',
        ca,
        agent: false,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      });
      asked.end(form.toString());
      const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer>];
      let text = '';
      for await (const part of response) text += part.toString();
      return (JSON.parse(text) as { id_token: string }).id_token;
    },
    stop: async () => {
      await stop(child);
      await rm(dir, { recursive: true });
    },
  };
}
