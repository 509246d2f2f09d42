import { startFrontDoor } from '../../test/support/front-door.ts';
import { basic } from '../../test/support/front-door.ts';
import { head } from '../../test/support/http-message.ts';
import { connectClient, type RawClient } from '../../test/support/raw-client.ts';
import { atOnce } from './at-once.ts';
import { besideHealthyClient } from './beside.ts';
import { anyByte, oneOf, repeated, type Rule } from './grammar.ts';
import { createRandom, type Random } from './random.ts';
import { startRecordingUpstream } from './recording-upstream.ts';
import { startTellingRegistry } from './telling-registry.ts';
import type { StrictMessage } from './strict-http.ts';

const evil = 'evil.example';
const hosts = [
  'registry.example:8443',
  'registry.example',
  '127.0.0.1:5000',
  '[::1]:443',
  'REGISTRY.example',
];
const forgedLine: Rule = oneOf(
  ...[
    'X-Forwarded-Host',
    'x-forwarded-host',
    'X-Forwarded-Server',
    'X-Host',
    'X-HTTP-Host-Override',
    'X-Original-Host',
  ].map((name) => `${name}: ${evil}`),
  ...[
    'X-Forwarded-Proto: http',
    'X-Forwarded-Scheme: http',
    'X-Forwarded-Port: 81',
    'X-Forwarded-Prefix: //evil.example',
  ],
  ...[
    `Forwarded: host=${evil};proto=http`,
    `Forwarded: for=1.2.3.4;host="${evil}"`,
    `X-Original-URL: //${evil}/`,
  ],
  ...[
    `X-Rewrite-URL: http://${evil}/`,
    `Via: 1.1 ${evil}`,
    `Origin: https://${evil}`,
    `Referer: https://${evil}/`,
  ],
  ...[`X-Forwarded-Host: ${evil}, registry.example`, `X_Forwarded_Host: ${evil}`, `X-Forwarded-For: ${evil}`],
  ...[
    'X-HTTP-Method-Override: DELETE',
    `Connection: X-Forwarded-Host\r\nX-Forwarded-Host: ${evil}`,
    `From: ${evil}`,
  ],
);
const redirecting = (random: Random): string =>
  random.pick([
    'POST /v2/app/blobs/uploads/',
    'POST /v2/app/blobs/uploads/',
    'GET /v2/app/tags/list/',
    'GET /v2/app/manifests/latest/',
    'GET /v2/_catalog/',
    'GET /v2',
    'GET /v2/app/blobs/uploads',
    `GET /v2/app/tags/list/?x=//${random.pick(['a', 'b'])}`,
    'GET /v2/_catalog?n=1',
  ]);

/** Forges where a request was sent to, against a real registry; gives in words each answer that points elsewhere, and how many pointed anywhere. */
export async function forgeHosts(
  seed: number,
  count: number,
): Promise<{ faults: string[]; pointing: number }> {
  const registry = await startTellingRegistry();
  const frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: ['log.audit=false'] });
  const faults: string[] = [];
  let pointing = 0;
  const idle: RawClient[] = [];
  const random = createRandom(seed);
  const attack = () =>
    atOnce(8, Array(count).keys(), async (number) => {
      const one = random.fork(number);
      const host = one.pick(hosts);
      const requestLine = redirecting(one);
      const lines = repeated(forgedLine, 1, 4, '\r\n')(one);
      const request = head(
        `${requestLine} HTTP/1.1`,
        `Host: ${host}`,
        `Authorization: ${basic}`,
        lines,
        ...(requestLine.startsWith('POST') ? ['Content-Length: 0'] : []),
      );
      const client = idle.pop() ?? (await connectClient(frontDoor));
      client.send(request);
      const response = await client.response('GET');
      idle.push(client);
      const pointers = response.headers.filter(([name]) =>
        /^(?:location|link|content-location)$/i.test(name),
      );
      if (pointers.length > 0) pointing += 1;
      const isElsewhere = pointers.some(
        ([, value]) => !value.startsWith(`https://${host}/v2`) && !/^<?\/v2(?![/\\]{2})/.test(value),
      );
      if (isElsewhere || response.head.includes('evil') || response.status >= 500)
        faults.push(`${JSON.stringify(request)} was answered ${JSON.stringify(response.head)}`);
    });
  try {
    await besideHealthyClient(frontDoor, { target: '/v2/', bytes: Buffer.from('{}') }, 8, async () => {
      await attack().finally(() => {
        for (const client of idle) client.leave();
      });
    });
  } finally {
    await frontDoor.stop();
    await registry.stop();
  }
  return { faults, pointing };
}

/** Fields with any bytes at all; gives in words each that did not arrive exactly, or that brought another along. */
export async function injectFields(
  seed: number,
  count: number,
): Promise<{ faults: string[]; arrived: number }> {
  const received = new Map<string, StrictMessage>();
  const upstream = await startRecordingUpstream((request) => received.set(request.target, request));
  const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['cache.driver=off'] });
  const faults: string[] = [];
  let arrived = 0;
  const value = repeated(
    oneOf(
      anyByte,
      anyByte,
      '\r\nX-Evil: 1',
      '\nX-Evil: 1',
      '\rX-Evil: 1',
      '%0d%0aX-Evil: 1',
      '\u0085X-Evil: 1',
      ' ',
      '\t',
    ),
    0,
    12,
  );
  const random = createRandom(seed);
  const attack = () =>
    atOnce(16, Array(count).keys(), async (number) => {
      const one = random.fork(number);
      const sent = value(one);
      const target = `/v2/app/${number}?q=${encodeURIComponent(sent)}`;
      const client = await connectClient(frontDoor);
      client.send(
        `GET ${target} HTTP/1.1\r\nHost: a\r\nAuthorization: ${basic}\r\nX-Probe: ${sent}\r\nConnection: close\r\n\r\n`,
      );
      await client.rest();
      const request = received.get(target);
      if (request === undefined) return; // refused
      arrived += 1;
      const values = request.fields.filter(([name]) => name === 'X-Probe').map(([, text]) => text);
      const others = request.fields.filter(([name]) => /evil/i.test(name));
      // What a line break makes of it is another field of the client's own, and that only where it is a whole one.
      const isWhole = sent.includes('\r\n');
      if (!isWhole && (values.length !== 1 || values[0] !== trim(sent) || others.length > 0))
        faults.push(`${JSON.stringify(sent)} arrived as ${JSON.stringify(request.fields)}`);
    });
  const target = '/v2/healthy/x';
  try {
    await besideHealthyClient(frontDoor, { target, bytes: Buffer.from(target) }, 16, attack);
    faults.push(...upstream.faults);
  } finally {
    await frontDoor.stop();
    await upstream.close();
  }
  return { faults, arrived };
}

function trim(text: string): string {
  return text.replace(/^[ \t]+/, '').replace(/[ \t]+$/, '');
}
