import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { clientHost, connectClient, type RawClient } from '../support/raw-client.ts';
import { replaceConfig, sighup } from '../support/reload.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamScript } from '../support/scripted-upstream.ts';

type Rule = { who: string[]; repositories: string[]; actions: string[] };
type Policy = { groups: Record<string, string[]>; policy: Rule[] };
/** A request, and what it means by its making: nothing of it is read from its text. */
type Asked = {
  readonly who: string | null;
  readonly line: string;
  readonly repository: string;
  readonly action: string;
  readonly from: string | null;
};

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const users = ['alice', 'bob', 'Carl', 'anonymous', 'a/b'];
const components = ['a', 'b', 'alice', 'bob', 'a-b'];
const body = '{}';
const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
const blobDigest = `sha256:${'0'.repeat(64)}`;

/** The whole meaning of a policy, in as few words as it can be said. */
function mayDo({ groups, policy }: Policy, who: string | null, repository: string): string[] {
  const isMeant = (word: string) => {
    if (who === null) return word === 'anonymous';
    if (word === 'authenticated' || word === 'user:${user}' || word === `user:${who}`) return true;
    return word.startsWith('group:') && groups[word.slice(6)]?.includes(who) === true;
  };
  const covers = (pattern: string) => {
    if (!pattern.includes('${user}')) return coversSegments(pattern.split('/'), repository.split('/'));
    if (who === null || !/^[a-z0-9-]+$/.test(who)) return false;
    return coversSegments(pattern.replaceAll('${user}', who).split('/'), repository.split('/'));
  };
  const rule = policy.find((each) => each.who.some(isMeant) && each.repositories.some(covers));
  return rule?.actions ?? [];
}

function coversSegments(pattern: string[], name: string[]): boolean {
  const [first, ...others] = pattern;
  const [segment, ...rest] = name;
  if (first === undefined || segment === undefined) return first === segment;
  if (first !== '**') return coversText(first.split(''), segment.split('')) && coversSegments(others, rest);
  if (others.length === 0) return true;
  return coversSegments(others, name) || coversSegments(pattern, rest);
}

function coversText(pattern: string[], text: string[]): boolean {
  const [first, ...others] = pattern;
  if (first === '*')
    return coversText(others, text) || (text.length > 0 && coversText(pattern, text.slice(1)));
  return first === text[0] && (first === undefined || coversText(others, text.slice(1)));
}

const segment = fc.oneof(
  fc.constantFrom(...components),
  fc.constantFrom('*', '**', 'a*', '*b', '*-*', '${user}'),
);
const pattern = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const word = fc.oneof(
  fc.constantFrom('anonymous', 'authenticated', 'user:${user}', 'group:g', 'group:h'),
  fc.constantFrom(...users).map((name) => `user:${name}`),
);
const actions = fc.subarray(['pull', 'push', 'delete', 'overwrite']);
const policies: fc.Arbitrary<Policy> = fc.record({
  groups: fc.record({ g: fc.subarray(users), h: fc.subarray(users) }),
  policy: fc.array(
    fc.record({
      who: fc.array(word, { minLength: 1, maxLength: 2 }),
      repositories: fc.array(pattern, { minLength: 1, maxLength: 2 }),
      actions,
    }),
    { maxLength: 6 },
  ),
});

const repository = fc
  .array(fc.constantFrom(...components), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'));
const forms: readonly (readonly [action: string, method: string, path: string])[] = [
  ['pull', 'GET', '/manifests/latest'],
  ['pull', 'HEAD', '/manifests/latest'],
  ['pull', 'GET', `/manifests/${digest}`],
  ['pull', 'GET', `/blobs/${blobDigest}`],
  ['pull', 'HEAD', `/blobs/${blobDigest}`],
  ['pull', 'GET', '/tags/list'],
  ['pull', 'GET', `/referrers/${digest}`],
  ['push', 'PUT', '/manifests/latest'],
  ['push', 'POST', '/blobs/uploads/'],
  ['delete', 'DELETE', `/manifests/${digest}`],
  ['delete', 'DELETE', `/blobs/${blobDigest}`],
];
const asked: fc.Arbitrary<Asked> = fc
  .record({
    who: fc.option(fc.constantFrom(...users)),
    repository,
    form: fc.constantFrom(...forms),
    from: fc.option(repository),
  })
  .map(({ who, repository: name, form: [action, method, path], from }) => {
    const mounts = method === 'POST' ? from : null;
    const query = mounts === null ? '' : `?mount=${blobDigest}&from=${mounts}`;
    return { who, repository: name, action, from: mounts, line: `${method} /v2/${name}${path}${query}` };
  });

/** Manifests that the cache may keep, and a 200 for everything else. */
const script: UpstreamScript = async (request) => {
  await request.body();
  const isManifest = request.startLine.includes('/manifests/');
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const fields = isManifest ? [`Content-Type: ${type}`, `Docker-Content-Digest: ${digest}`] : [];
  request.answer(
    head('HTTP/1.1 200 OK', ...fields, `Content-Length: ${body.length}`),
    request.startLine.startsWith('HEAD ') ? '' : body,
  );
};

describe('any policy, whoever asks for whatever', { timeout: 120_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script });
    const htpasswd = users.map((name) => `${name}:${hash}\n`).join('');
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config: '{}' });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  const send = async (client: RawClient, { who, line }: Asked) => {
    const method = line.slice(0, line.indexOf(' '));
    const credentials = Buffer.from(`${who ?? ''}:x`).toString('base64');
    client.send(
      head(
        `${line} HTTP/1.1`,
        `Host: ${clientHost}`,
        'Accept: application/vnd.oci.image.manifest.v1+json',
        ...(who === null ? [] : [`Authorization: Basic ${credentials}`]),
        ...(method === 'GET' || method === 'HEAD' ? [] : ['Content-Length: 0']),
      ),
    );
    return client.response(method);
  };

  test('gets what a model of the rules says, and upstream and the cache are asked for nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(policies, fc.array(asked, { minLength: 30, maxLength: 60 }), async (policy, all) => {
        // Something else has to differ each time, or there would be nothing to reload.
        await replaceConfig(frontDoor, JSON.stringify({ ...policy, auth: { realm: `r${Math.random()}` } }));
        assert.equal((await sighup(frontDoor)).msg, 'reloaded');
        const client = await connectClient(frontDoor);
        try {
          for (const each of all) {
            const may = mayDo(policy, each.who, each.repository);
            const refusal =
              each.who === null ? 401 : may.some((action) => action !== 'overwrite') ? 403 : 404;
            const expected = may.includes(each.action) ? 200 : refusal;
            const seenBefore = upstream.requests.length;
            const response = await send(client, each);
            assert.equal(response.status, expected, `${each.who ?? 'nobody'}: ${each.line}`);
            const forwarded = upstream.requests.slice(seenBefore).map(({ startLine }) => startLine);
            if (expected !== 200) assert.deepEqual(forwarded, []);
            else if (each.from !== null) {
              const keeps = mayDo(policy, each.who, each.from).includes('pull');
              const line = keeps ? each.line : each.line.replace(/\?.*/, '');
              assert.deepEqual(forwarded, [`${line} HTTP/1.1`]);
            }
          }
        } finally {
          client.leave();
        }
      }),
      { numRuns: 40, endOnFailure: false, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
    );
  });
});
