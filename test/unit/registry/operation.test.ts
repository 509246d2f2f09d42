import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cacheableOf, writtenOf } from '../../../src/cache/cacheable.ts';
import { accessOf } from '../../../src/registry/access.ts';
import { changeOf } from '../../../src/registry/change.ts';
import { routeLabelOf } from '../../../src/registry/route-label.ts';
import { parseOperation, type Operation } from '../../../src/registry/operation.ts';
import { deleteConflictOf } from '../../../src/registry/delete-conflict.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const openPaths = new Set(['/_ping', '/v1/_ping']);
const digest = `sha256:${'0a'.repeat(32)}`;

/** One line of the table: what each part of the program makes of a request; `-`: nothing. */
type Row = readonly [
  request: string,
  kind: Operation['kind'],
  needs: string,
  /** `kept SCOPE`: may be answered from the cache; `ends SCOPE ITEMS`: what is kept is out of date. */
  cache: string,
  /** What a delete in the same repository, or this delete, waits for. */
  race: string,
  /** The audit's line. */
  audit: string,
  counted: string,
];

/** Every request of distribution-spec 1.1, of Docker's v2 API and of the first protocol. */
const table: readonly Row[] = [
  // distribution-spec 1.1, in the order of its table of endpoints
  ['GET /v2/', 'version-check', 'nothing', '-', '-', '-', 'version-check'],
  ['HEAD /v2/', 'version-check', 'nothing', '-', '-', '-', 'version-check'],
  [`GET /v2/a/b/blobs/${digest}`, 'blob', 'pull a/b', '-', 'reads a/b', '-', 'blob'],
  [`HEAD /v2/a/b/blobs/${digest}`, 'blob', 'pull a/b', '-', 'reads a/b', '-', 'blob'],
  ['GET /v2/a/b/manifests/v1', 'manifest', 'pull a/b', 'kept v2:a/b', 'reads a/b', '-', 'manifest'],
  [`HEAD /v2/a/b/manifests/${digest}`, 'manifest', 'pull a/b', 'kept v2:a/b', 'reads a/b', '-', 'manifest'],
  ['GET /v2/a/b/manifests/v1?x', 'manifest', 'pull a/b', '-', 'reads a/b', '-', 'manifest'],
  ['POST /v2/a/b/blobs/uploads/', 'upload-start', 'push a/b', '-', '-', '-', 'registry'],
  [
    `POST /v2/a/b/blobs/uploads/?digest=${digest}`,
    'upload-start',
    'push a/b',
    '-',
    'writes a/b',
    '-',
    'registry',
  ],
  ['PATCH /v2/a/b/blobs/uploads/6f1c', 'upload-session', 'push a/b', '-', '-', '-', 'registry'],
  [
    `PUT /v2/a/b/blobs/uploads/6f1c?digest=${digest}`,
    'upload-session',
    'push a/b',
    '-',
    'writes a/b',
    '-',
    'registry',
  ],
  [
    'PUT /v2/a/b/manifests/v1',
    'manifest',
    'push a/b',
    'ends v2:a/b v1',
    'writes a/b',
    'push tag a/b v1',
    'manifest',
  ],
  [
    `PUT /v2/a/b/manifests/${digest}?tag=v1`,
    'manifest',
    'push a/b',
    'ends v2:a/b all',
    'writes a/b',
    `push manifest a/b ${digest} v1`,
    'manifest',
  ],
  ['GET /v2/a/b/tags/list?n=1&last=x', 'tag-list', 'pull a/b', '-', '-', '-', 'registry'],
  [
    'DELETE /v2/a/b/manifests/v1',
    'manifest',
    'delete a/b',
    'ends v2:a/b v1',
    'deletes in a/b',
    'delete tag a/b v1',
    'manifest',
  ],
  [
    `DELETE /v2/a/b/manifests/${digest}`,
    'manifest',
    'delete a/b',
    'ends v2:a/b all',
    'deletes in a/b',
    `delete manifest a/b ${digest}`,
    'manifest',
  ],
  [
    `DELETE /v2/a/b/blobs/${digest}`,
    'blob',
    'delete a/b',
    'ends v2:a/b all',
    'deletes in a/b',
    `delete blob a/b ${digest}`,
    'registry',
  ],
  [
    `POST /v2/a/b/blobs/uploads/?mount=${digest}&from=c`,
    'upload-start',
    'push a/b',
    '-',
    'reads a/b,c',
    '-',
    'registry',
  ],
  [`GET /v2/a/b/referrers/${digest}`, 'referrers', 'pull a/b', '-', '-', '-', 'registry'],
  ['GET /v2/a/b/blobs/uploads/6f1c', 'upload-session', 'push a/b', '-', '-', '-', 'registry'],
  // Docker's v2 API besides
  ['DELETE /v2/a/b/blobs/uploads/6f1c', 'upload-session', 'push a/b', '-', '-', '-', 'registry'],
  ['GET /v2/_catalog', 'catalog', 'catalog', '-', '-', '-', 'registry'],
  // the first protocol
  ['GET /_ping', 'open', 'nothing', '-', '-', '-', 'open'],
  ['GET /v1/_ping', 'open', 'nothing', '-', '-', '-', 'open'],
  ['GET /', 'root', 'nothing', '-', '-', '-', 'registry'],
  ['GET /v1/users/', 'v1-login', 'nothing', '-', '-', '-', 'registry'],
  ['GET /v1/search?q=x', 'v1-search', 'search', '-', '-', '-', 'registry'],
  ['GET /v1/images/0a/json', 'v1-image', 'pull everywhere', 'kept v1-image:0a', '-', '-', 'registry'],
  ['GET /v1/images/0a/layer', 'v1-image', 'pull everywhere', '-', '-', '-', 'registry'],
  ['PUT /v1/images/0a/layer', 'v1-image', 'push everywhere', 'ends v1-image:0a all', '-', '-', 'registry'],
  ['GET /v1/private_images/0a/json', 'v1-image', 'pull everywhere', '-', '-', '-', 'registry'],
  [
    'GET /v1/repositories/a/tags',
    'v1-repository',
    'pull library/a',
    'kept v1:library/a',
    'reads library/a',
    '-',
    'registry',
  ],
  [
    'GET /v1/repositories/a/images',
    'v1-repository',
    'pull library/a',
    '-',
    'reads library/a',
    '-',
    'registry',
  ],
  [
    'PUT /v1/repositories/a/b/',
    'v1-repository',
    'push a/b',
    'ends v1:a/b all',
    'writes a/b',
    '-',
    'registry',
  ],
  [
    'PUT /v1/repositories/a/tags/v1',
    'v1-repository',
    'push library/a',
    'ends v1:library/a all',
    'writes library/a',
    'push tag library/a v1',
    'registry',
  ],
  [
    'DELETE /v1/repositories/a/b/tags/v1',
    'v1-repository',
    'delete a/b',
    'ends v1:a/b all',
    'deletes in a/b',
    'delete tag a/b v1',
    'registry',
  ],
  [
    'DELETE /v1/repositories/a/b/',
    'v1-repository',
    'delete a/b',
    'ends v1:a/b all',
    'deletes in a/b',
    'delete repository a/b',
    'registry',
  ],
  // and what is none of them
  ['POST /v2/', 'unknown', 'refused', '-', '-', '-', 'registry'],
  ['POST /v2/a/b/manifests/v1', 'manifest', 'refused', 'ends v2:a/b v1', '-', '-', 'manifest'],
  ['GET /v2/a/b', 'unknown', 'refused', '-', '-', '-', 'registry'],
  ['GET /v1/repositories/a/b/c', 'unknown', 'refused', '-', '-', '-', 'registry'],
  ['GET /v2/A/manifests/v1', 'misnamed', 'refused', '-', '-', '-', 'misnamed'],
  ['GET /elsewhere', 'outside', 'refused', '-', '-', '-', 'outside'],
  ['POST /ui/v2/a/b/manifests/v1', 'console', 'refused', '-', '-', '-', 'console'],
  ['DELETE /ui', 'console', 'refused', '-', '-', '-', 'console'],
];

function read(request: string): { operation: Operation; path: string } {
  const [method = '', raw = ''] = request.split(' ');
  const target = parseTarget(raw);
  return { operation: parseOperation(method, target, openPaths), path: target.path };
}

function describeNeed(operation: Operation): string {
  const access = accessOf(operation);
  switch (access?.kind) {
    case undefined:
      return 'refused';
    case 'free':
      return 'nothing';
    case 'all-repositories':
      return `${access.action} everywhere`;
    case 'repository':
      return `${access.action} ${access.repository}`;
    case 'catalog':
    case 'search':
      return access.kind;
  }
}

function describeCache(operation: Operation, path: string): string {
  const kept = cacheableOf(operation, path);
  const written = writtenOf(operation);
  if (kept) return `kept ${kept.scope}`;
  return written ? `ends ${written.scope} ${String(written.items)}` : '-';
}

function describeRace(operation: Operation): string {
  const race = deleteConflictOf(operation);
  if (race === null) return '-';
  if (race.kind === 'delete') return `deletes in ${race.repository}`;
  return `${race.from === 'head' ? 'reads' : 'writes'} ${race.repositories.join()}`;
}

function describeAudit(operation: Operation): string {
  const change = changeOf(operation);
  if (change === null) return '-';
  const { action, object, repository, tag, furtherTags } = change;
  return [action, object, repository, tag ?? change.digest, ...furtherTags]
    .filter((part) => part !== null)
    .join(' ');
}

describe('what a request is to each part of the program', () => {
  for (const [request, ...expected] of table)
    test(request.replace(digest, 'DIGEST'), () => {
      const { operation, path } = read(request);
      assert.deepEqual(
        [
          operation.kind,
          describeNeed(operation),
          describeCache(operation, path),
          describeRace(operation),
          describeAudit(operation),
          routeLabelOf(operation),
        ],
        expected,
      );
    });
});

describe('the names in a path', () => {
  const blob = (repository: string, algorithm: string, hex: string) => ({
    kind: 'blob',
    repository,
    algorithm,
    hex,
  });
  const manifest = (repository: string, reference: string) => ({ kind: 'manifest', repository, reference });
  for (const [method, target, expected] of [
    ['GET', '/_ping', { kind: 'open' }],
    ['HEAD', '/v1/_ping?x', { kind: 'open' }],
    ['POST', '/_ping', { kind: 'outside' }],
    ['POST', '/v1/_ping', { kind: 'registry' }],
    ['GET', '/_pin%67', { kind: 'outside' }],
    ['GET', '/v1/_pin%67', { kind: 'registry' }],
    ['GET', '/v2/', { kind: 'version-check' }],
    ['HEAD', '/v2/?x', { kind: 'version-check' }],
    ['POST', '/v2/', { kind: 'registry' }],
    ['GET', '/v2', { kind: 'registry' }],
    ['GET', '/v%32/', { kind: 'registry' }],
    ['GET', '/', { kind: 'registry' }],
    ['GET', '/v1/', { kind: 'registry' }],
    ['GET', '/v1', { kind: 'registry' }],
    ['GET', '/v2/_catalog', { kind: 'registry' }],
    ['GET', '/v2/a/tags/list', { kind: 'registry' }],
    ['PUT', '/v2/a/b/manifests/latest', { kind: 'manifest', repository: 'a/b', reference: 'latest' }],
    ['GET', '/v2/a/manifests/sha256%3A0a', { kind: 'manifest', repository: 'a', reference: 'sha256:0a' }],
    ['GET', '/v2/a/%6danifests/x?y', { kind: 'manifest', repository: 'a', reference: 'x' }],
    [
      'GET',
      '/v2/manifests/manifests/manifests',
      { kind: 'manifest', repository: 'manifests', reference: 'manifests' },
    ],
    ['GET', `/v2/a/blobs/sha256:${'0a'.repeat(32)}`, blob('a', 'sha256', '0a'.repeat(32))],
    [
      'HEAD',
      `/v2/a/b.c_d__e---f/blobs/sha256%3A${'0a'.repeat(32)}`,
      blob('a/b.c_d__e---f', 'sha256', '0a'.repeat(32)),
    ],
    ['GET', `/v2/a/blobs/b/blobs/sha512:${'0a'.repeat(64)}`, blob('a/blobs/b', 'sha512', '0a'.repeat(64))],
    ['DELETE', `/v2/a/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'registry' }],
    ['GET', `/v2/a/blobs/sha256:${'0A'.repeat(32)}`, { kind: 'registry' }],
    ['GET', `/v2/a/blobs/sha256:${'0a'.repeat(31)}`, { kind: 'registry' }],
    ['GET', `/v2/a/blobs/sha256:${'0a'.repeat(64)}`, { kind: 'registry' }],
    [
      'PUT',
      `/v2/${'a'.repeat(255)}/manifests/${'t'.repeat(128)}`,
      manifest('a'.repeat(255), 't'.repeat(128)),
    ],
    ['GET', `/v2/${'a'.repeat(256)}/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['HEAD', `/v2/${'a/'.repeat(15_000)}b/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['DELETE', `/v2/A/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['PUT', `/v2/a%E2%80%A8/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v2/a/manifests/${'t'.repeat(129)}`, { kind: 'misnamed', fault: 'reference' }],
    ['GET', `/v2/a/manifests/-x`, { kind: 'misnamed', fault: 'reference' }],
    ['PUT', `/v2/a/manifests/sha256:${'a'.repeat(249)}`, { kind: 'misnamed', fault: 'reference' }],
    ['DELETE', `/v2/a/blobs/sha256:${'a'.repeat(249)}`, { kind: 'misnamed', fault: 'digest' }],
    ['DELETE', `/v2/A/blobs/sha256:aa`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', '/v2/a/referrers/latest', { kind: 'registry' }],
    ['GET', `/v2/a/referrers/sha256:${'a'.repeat(249)}`, { kind: 'misnamed', fault: 'digest' }],
    ['GET', `/v2/A/tags/list`, { kind: 'misnamed', fault: 'repository' }],
    ['POST', `/v2/A/blobs/uploads/`, { kind: 'misnamed', fault: 'repository' }],
    ['PATCH', `/v2/${'a'.repeat(256)}/blobs/uploads/x`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v1/repositories/${'a'.repeat(256)}/tags`, { kind: 'misnamed', fault: 'repository' }],
    ['PUT', `/v1/repositories/a/${'b'.repeat(256)}/`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v1/repositories/a%20/images`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v1/repositories/a/tags/${'t'.repeat(129)}`, { kind: 'misnamed', fault: 'tag' }],
    ['GET', `/v1/images/${'0'.repeat(129)}/json`, { kind: 'misnamed', fault: 'image' }],

    ['GET', `/v2/A/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v2/a..b/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v2/_a/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', '/v2/a/blobs/uploads/', { kind: 'registry' }],
    ['GET', '/v2/manifests/x', { kind: 'registry' }],
    ['GET', '/v2/a/manifests/', { kind: 'registry' }],
    ['GET', '/v2/a/manifests/x/y', { kind: 'registry' }],
    ['GET', '/v2x/', { kind: 'outside' }],
    ['GET', '/V2/', { kind: 'outside' }],
    ['GET', '/metrics', { kind: 'outside' }],
    ['GET', '/uix', { kind: 'outside' }],
    ['GET', '/ui%2e/', { kind: 'outside' }],
  ] as const) {
    test(`${method} ${target.slice(0, 100)}`, () => {
      const operation = parseOperation(method, parseTarget(target), openPaths);
      const known: Record<string, unknown> = {
        ...operation,
        ...(operation.kind === 'blob' ? operation.stored : {}),
        kind: routeLabelOf(operation),
      };
      for (const [name, value] of Object.entries(expected)) assert.equal(known[name], value, name);
    });
  }
});
