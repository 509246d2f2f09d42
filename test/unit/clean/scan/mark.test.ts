import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { markRepository, subjectOfTag } from '../../../../src/clean/scan/mark.ts';
import { scanRepository } from '../../../../src/clean/scan/repository-scan.ts';
import type { RepositoryScan, ScanFault } from '../../../../src/clean/scan/scan-types.ts';
import { markModel, readStorageModel } from '../../../support/storage-model.ts';
import { createStorageTree, digestOf } from '../../../support/storage-tree.ts';

const digest = (number: number) => `sha256:${number.toString(16).padStart(64, '0')}`;
const link = (number: number) => ({
  digest: digest(number),
  linkedAs: digest(number),
  isReadable: true,
  linkMtimeMs: 0,
});
const manifest = (number: number, named: readonly number[], subject: number | null = null) => ({
  ...link(number),
  dataMtimeMs: 0,
  bytes: 1,
  lostTagMs: null,
  content: {
    named: named.map(digest),
    manifests: named.map(digest),
    subject: subject === null ? null : digest(subject),
  },
});
const nothing: RepositoryScan = {
  name: 'a',
  tags: [],
  manifests: [],
  layers: [],
  namedBlobs: [],
  faults: [],
  tagsFolderMtimeMs: null,
};
const kept = (scan: RepositoryScan, ...roots: number[]) => {
  const mark = markRepository(scan, roots.map(digest));
  const manifests = scan.manifests.filter((found) => mark.keepsManifest(found));
  const layers = scan.layers.filter((found) => mark.keepsLayer(found));
  return [...manifests, ...layers].map((found) => Number(`0x${found.linkedAs.slice(7)}`));
};

describe('a mark', () => {
  test('of nothing keeps nothing', () => {
    assert.deepEqual(kept({ ...nothing, manifests: [manifest(1, [2])], layers: [link(2)] }), []);
  });

  test('keeps what an index leads to, and what is about it', () => {
    const scan = {
      ...nothing,
      manifests: [
        manifest(1, [2]),
        manifest(2, [10]),
        manifest(3, [11], 2),
        manifest(4, [12]),
        manifest(5, [13], 3),
        manifest(6, [14], 4),
      ],
      layers: [10, 11, 12, 13, 14].map(link),
    };
    assert.deepEqual(kept(scan, 1), [1, 2, 3, 5, 10, 11, 13]);
  });

  test('keeps the subject of what is kept, and goes round in circles only once', () => {
    const scan = { ...nothing, manifests: [manifest(1, [], 2), manifest(2, [3]), manifest(3, [2])] };
    assert.deepEqual(kept({ ...scan, manifests: [...scan.manifests, manifest(4, [])] }, 2), [1, 2, 3]);
    const [first, ...others] = scan.manifests;
    assert.deepEqual(kept({ ...scan, manifests: [manifest(1, [2], 2), ...others] }, 1), [1, 2, 3]);
    assert.equal(first?.content.subject, digest(2));
  });

  test('keeps a tag that is about a digest with that digest, also if that is no manifest of its own', () => {
    const about = (number: number, more: string) => ({
      name: digest(number).replace(':', '-') + more,
      digest: digest(number + 10),
      pushedMs: 0,
    });
    const scan = {
      ...nothing,
      tags: [about(1, '.sig'), about(2, ''), about(3, '.sig')],
      manifests: [manifest(1, [3]), manifest(2, []), ...[11, 12, 13].map((number) => manifest(number, []))],
    };
    assert.deepEqual(kept(scan, 1), [1, 11, 13]);
    const mark = markRepository(scan, [digest(1)]);
    assert.deepEqual(
      scan.tags.map(({ name }) => mark.keepsSubjectTag(name)),
      [true, false, true],
    );
    assert.equal(mark.keepsSubjectTag('v1'), false);
  });

  test('keeps both links of a blob that was uploaded by sha512', () => {
    const other = `sha512:${'b'.repeat(128)}`;
    const alias = { digest: digest(9), linkedAs: other, isReadable: true, linkMtimeMs: 0 };
    const byName = manifest(1, []);
    const scan = { ...nothing, layers: [link(9), alias, link(8)] };
    for (const named of [other, digest(9)]) {
      const content = { ...byName.content, named: [named] };
      const mark = markRepository({ ...scan, manifests: [{ ...byName, content }] }, [digest(1)]);
      assert.deepEqual(
        scan.layers.map((layer) => mark.keepsLayer(layer)),
        [true, true, false],
      );
    }
  });

  test('keeps everything where something could not be read', () => {
    const scan = { ...nothing, manifests: [manifest(1, [])], layers: [link(2)] };
    const fault = (keeps: ScanFault['keeps']) => [{ path: 'x', why: 'y', keeps }];
    assert.deepEqual(kept({ ...scan, faults: fault('itself') }), []);
    for (const unknown of [
      { ...scan, faults: fault('repository') },
      { ...scan, faults: fault('storage') },
      { ...scan, tags: [{ name: 'v1', digest: null, pushedMs: 0 }] },
    ])
      assert.deepEqual(kept(unknown), [1, 2]);
    const unreadable = { ...manifest(3, []), content: null };
    assert.deepEqual(kept({ ...scan, manifests: [...scan.manifests, unreadable] }), [1, 3, 2]);
  });

  test('knows the tags that are about a digest', () => {
    const hex = 'a'.repeat(64);
    for (const tag of [`sha256-${hex}`, `sha256-${hex}.sig`, `sha256-${hex}-1`])
      assert.equal(subjectOfTag(tag), `sha256:${hex}`);
    for (const tag of ['v1', `sha256-${hex}a`, `sha256-${hex.slice(1)}`, `xsha256-${hex}`])
      assert.equal(subjectOfTag(tag), null);
  });

  test('any scan, also with circles: what adds up step by step until nothing is added', () => {
    const node = fc.nat({ max: 12 });
    const record = fc.record({ named: fc.array(node, { maxLength: 3 }), subject: fc.option(node) });
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 10 }),
        fc.array(node),
        fc.array(node),
        (nodes, layers, roots) => {
          const manifests = nodes.map(({ named, subject }, at) =>
            manifest(at, subject === null ? named : [...named, subject], subject),
          );
          const live = new Set(roots.map(digest));
          for (let before = -1; before !== live.size;) {
            before = live.size;
            for (const { digest: own, content } of manifests) {
              if (content.subject !== null && live.has(content.subject)) live.add(own);
              if (live.has(own)) for (const named of content.named) live.add(named);
            }
          }
          const all = [...manifests, ...layers.map(link)];
          const scan = { ...nothing, manifests, layers: layers.map(link) };
          const expected = all.filter((found) => live.has(found.digest)).map((found) => found.digest);
          assert.deepEqual(kept(scan, ...roots).map(digest), expected);
        },
      ),
    );
  });

  test('any repository on disk: the same as a slow model reads from it', async () => {
    const place = fc.nat({ max: 30 });
    const made = fc.record({
      layers: fc.array(fc.nat({ max: 5 }), { maxLength: 3 }),
      entries: fc.array(place, { maxLength: 3 }),
      subject: fc.option(place),
      tag: fc.constantFrom(null, null, 'plain', 'about'),
      isLinkedAsBlob: fc.boolean(),
      isLinkedAsManifest: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(made, { maxLength: 12 }), fc.array(place), async (all, roots) => {
        const root = mkdtempSync(path.join(tmpdir(), 'tidegate-mark-'));
        try {
          const tree = createStorageTree(root);
          for (const number of [0, 1, 2, 3, 4, 5]) tree.layer('a/b', tree.blob(`layer ${number}`));
          const digests: string[] = [];
          /** One that is there already, or nowhere. */
          const at = (number: number) =>
            digests[number % (digests.length + 1)] ?? digestOf(`missing ${number}`);
          for (const [number, image] of all.entries()) {
            const text = JSON.stringify({
              number,
              layers: image.layers.map((layer) => ({ digest: digestOf(`layer ${layer}`) })),
              ...(image.entries.length > 0
                ? { manifests: image.entries.map((entry) => ({ digest: at(entry) })) }
                : {}),
              ...(image.subject === null ? {} : { subject: { digest: at(image.subject) } }),
            });
            const own = tree.blob(text);
            if (image.isLinkedAsManifest) tree.revision('a/b', own);
            if (image.isLinkedAsBlob) tree.layer('a/b', own);
            if (image.tag === 'plain') tree.tag('a/b', `v${number}`, own);
            if (image.tag === 'about') tree.tag('a/b', `${at(number).replace(':', '-')}.${number}`, own);
            digests.push(own);
          }
          const scan = await scanRepository(root, 'a/b');
          const model = readStorageModel(root).get('a/b');
          assert.ok(model);
          assert.deepEqual(scan.faults, []);
          assert.deepEqual(new Map(scan.tags.map((tag) => [tag.name, tag.digest])), model.tags);
          const keep = roots.map(at).filter((digest) => model.manifests.has(digest));
          const mark = markRepository(scan, keep);
          const expected = markModel(root, model, keep);
          const found = [...scan.manifests, ...scan.layers].filter((each) => mark.keepsLayer(each));
          assert.deepEqual(new Set(found.map(({ linkedAs }) => linkedAs)), expected);
        } finally {
          rmSync(root, { recursive: true });
        }
      }),
      { numRuns: 60 },
    );
  });
});
