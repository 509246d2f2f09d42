import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { accessOf } from '../../../src/registry/access.ts';
import { parseOperation } from '../../../src/registry/operation.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const page = new URL('../../../../docs/policy.md', import.meta.url);
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const openPaths = new Set(['/_ping', '/v1/_ping']);

/** What stands for each word in the table's paths. */
const samples: Readonly<Record<string, readonly string[]>> = {
  NAME: ['team/app', 'app', 'library/app'],
  REFERENCE: ['latest', `sha256:${'0'.repeat(64)}`],
  DIGEST: [`sha256:${'0'.repeat(64)}`, `sha512:${'a'.repeat(128)}`],
  SESSION: ['0b5e6a2c-91c6-4f0b-8a9e-3e1c1f1b7e55'],
  ID: ['0a1b'],
  PART: ['json', 'layer', 'ancestry', 'checksum', 'files', 'diff'],
  TAG: ['v1'],
};

/** `METHOD /path` → what the page says it needs. */
function readTable(): ReadonlyMap<string, string> {
  const [, section = ''] = /## What each request needs\n([^]*?)\n## /.exec(readFileSync(page, 'utf8')) ?? [];
  const rows = section.matchAll(/^\| `([A-Z]+ \/\S*)` +\| (.*?) +\|$/gm);
  return new Map([...rows].map(([, request = '', need = '']) => [request, need]));
}

function expand(path: string): string[] {
  const [word, values] =
    Object.entries(samples).find(([name]) => new RegExp(`\\b${name}\\b`).test(path)) ?? [];
  if (word === undefined) return [path];
  return (values ?? []).flatMap((value) => expand(path.replace(word, value)));
}

function describeNeed(method: string, path: string): string {
  const target = parseTarget(path);
  const access = accessOf(parseOperation(method, target, openPaths));
  switch (access?.kind) {
    case undefined:
      return 'refused';
    case 'free':
      return '–';
    case 'catalog':
    case 'search':
      return 'cut down';
    case 'all-repositories':
      return `${access.action} everywhere`;
    case 'repository':
      return access.action;
  }
}

describe('the table of requests in docs/policy.md', () => {
  const table = readTable();
  it('is there', () => assert.ok(table.size > 30, String(table.size)));
  const paths = new Set([...table.keys()].map((request) => request.replace(/^[A-Z]+ /, '')));
  for (const path of paths)
    it(`says of ${path} what is so, for every method`, () => {
      for (const method of methods) {
        const expected = table.get(`${method === 'HEAD' ? 'GET' : method} ${path}`) ?? 'refused';
        for (const sample of expand(path))
          assert.equal(describeNeed(method, sample), expected, `${method} ${sample}`);
      }
    });
});
