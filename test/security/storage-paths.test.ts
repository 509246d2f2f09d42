import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, symlink, truncate, unlink, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { anonymous, authorized, connectClient, exchange } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';
import { dataPath, linkPath, storeBlob } from '../support/stored-blobs.ts';
import { wholeLog } from '../support/whole-log.ts';

const repository = 'team/app';
const fromUpstream = 'sent by upstream';
const fromStorage = 'read from a file';
const outside = 'private, outside'; // all of one length, so that only what they say tells them apart
const size = fromUpstream.length;

/** Every digest is asked for once: nothing that a test does to its files is seen by another. */
const freshDigest = () => `sha256:${randomBytes(32).toString('hex')}`;

/** The head that distribution gives to a blob; `without` and `lines` change it. */
const blobHead = (digest: string, { status = '200 OK', length = size, lines = [] as string[] } = {}) =>
  head(
    `HTTP/1.1 ${status}`,
    `Content-Length: ${length}`,
    'Content-Type: application/octet-stream',
    `Docker-Content-Digest: ${digest}`,
    ...lines,
  );

describe('the storage', { timeout: 360_000 }, () => {
  let root: string;
  let linkedRoot: string;
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  /** What upstream answers to HEAD; to GET it always sends the whole blob. */
  let answerHead: (request: UpstreamRequest, digest: string) => void;

  before(async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-storage-'));
    linkedRoot = path.join(dir, 'current');
    upstream = await startUpstream({
      script: (request) => {
        const [method = '', target = ''] = request.startLine.split(' ');
        const digest = /(?:sha256|sha512)(?::|%3A)[0-9a-f]+/.exec(target)?.[0].replace('%3A', ':') ?? '';
        if (method === 'HEAD') answerHead(request, digest);
        else request.answer(blobHead(digest), fromUpstream);
      },
    });
    root = path.join(dir, 'real');
    await mkdir(root);
    await symlink('real', linkedRoot); // the root itself may be one
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [`upstream.storage=${linkedRoot}`, 'log.level=debug'],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
    await rm(path.dirname(root), { recursive: true, force: true });
  });
  beforeEach(() => {
    answerHead = (request, digest) => request.answer(blobHead(digest));
  });

  const store = (digest: string, name = repository) =>
    storeBlob(root, name, digest, Buffer.from(fromStorage));
  const pull = async (digest: string, name = repository) =>
    (await exchange(frontDoor, authorized(`GET /v2/${name}/blobs/${digest}`))).body.toString();
  const requestsSince = (count: number) =>
    upstream.requests.slice(count).map(({ startLine }) => startLine.split(' ')[0]);

  test('is read after upstream has said yes, and upstream is not asked for the bytes', async () => {
    const digest = freshDigest();
    await store(digest);
    const before = upstream.requests.length;
    assert.equal(await pull(digest), fromStorage);
    assert.deepEqual(requestsSince(before), ['HEAD']);
  });

  test('is not read for anybody without the password', async () => {
    const digest = freshDigest();
    await store(digest);
    const before = upstream.requests.length;
    const wrong = `Authorization: Basic ${Buffer.from('alice:wrong').toString('base64')}`;
    for (const lines of [[], [wrong]]) {
      const refused = await exchange(frontDoor, anonymous(`GET /v2/${repository}/blobs/${digest}`, ...lines));
      assert.equal(refused.status, 401);
    }
    assert.deepEqual(requestsSince(before), []);
  });

  test('is not read for a token of the first protocol, which is for upstream to judge', async () => {
    const digest = freshDigest();
    await store(digest);
    const token = 'signature=1,repository="team/app",access=read';
    answerHead = (request) => request.answer(head('HTTP/1.1 200 OK', `X-Docker-Token: ${token}`));
    await exchange(frontDoor, authorized('HEAD /v1/repositories/team/app/images'));
    const response = await exchange(
      frontDoor,
      anonymous(`GET /v2/${repository}/blobs/${digest}`, `Authorization: Token ${token}`),
    );
    assert.equal(response.body.toString(), fromUpstream);
  });

  const moved = async (file: string, to: string) => {
    await mkdir(path.dirname(to), { recursive: true });
    await rename(file, to);
    await symlink(to, file);
  };
  const hexOf = (digest: string) => digest.slice('sha256:'.length);
  for (const [what, change] of [
    [
      'the data is a symbolic link out of it',
      async (digest: string) => {
        const secret = path.join(root, '..', 'secret');
        await writeFile(secret, outside);
        await rm(path.join(root, dataPath(digest)));
        await symlink(secret, path.join(root, dataPath(digest)));
      },
    ],
    [
      'the data is a symbolic link within it',
      (digest: string) =>
        moved(path.join(root, dataPath(digest)), path.join(root, 'elsewhere', hexOf(digest))),
    ],
    [
      "the data's folder is a symbolic link",
      (digest: string) =>
        moved(path.dirname(path.join(root, dataPath(digest))), path.join(root, 'elsewhere', hexOf(digest))),
    ],
    [
      'the link is a symbolic link',
      (digest: string) =>
        moved(path.join(root, linkPath(repository, digest)), path.join(root, 'elsewhere', hexOf(digest))),
    ],
    [
      "the link's folder is a symbolic link",
      (digest: string) =>
        moved(
          path.dirname(path.join(root, linkPath(repository, digest))),
          path.join(root, 'elsewhere', hexOf(digest)),
        ),
    ],
    [
      'the data is a folder',
      async (digest: string) => {
        await rm(path.join(root, dataPath(digest)));
        await mkdir(path.join(root, dataPath(digest)));
      },
    ],
    [
      'the data is a FIFO',
      async (digest: string) => {
        await rm(path.join(root, dataPath(digest)));
        assert.equal(spawnSync('mkfifo', [path.join(root, dataPath(digest))]).status, 0);
      },
    ],
    [
      'the link is a FIFO',
      async (digest: string) => {
        await rm(path.join(root, linkPath(repository, digest)));
        assert.equal(spawnSync('mkfifo', [path.join(root, linkPath(repository, digest))]).status, 0);
      },
    ],
    ['there is no data', (digest: string) => unlink(path.join(root, dataPath(digest)))],
    ['there is no link', (digest: string) => unlink(path.join(root, linkPath(repository, digest)))],
    [
      'the data is shorter than upstream says',
      (digest: string) => truncate(path.join(root, dataPath(digest)), size - 1),
    ],
    [
      'the data is longer than upstream says',
      (digest: string) => writeFile(path.join(root, dataPath(digest)), `${fromStorage}x`),
    ],
    ...(
      [
        ['another digest', () => freshDigest()],
        ['nothing', () => ''],
        ['a line end after the digest', (digest) => `${digest}\n`],
        ['the digest without its algorithm', hexOf],
        ['a part of the digest', (digest) => digest.slice(0, -1)],
        ['the digest in upper case', (digest) => digest.toUpperCase()],
        ['the digest and much more', (digest) => digest + 'x'.repeat(100_000)],
      ] as [string, (digest: string) => string][]
    ).map(
      ([content, write]) =>
        [
          `the link holds ${content}`,
          (digest: string) => writeFile(path.join(root, linkPath(repository, digest)), write(digest)),
        ] as const,
    ),
  ] as const) {
    test(`is not read when ${what}`, async () => {
      const digest = freshDigest();
      await store(digest);
      assert.equal(await pull(digest), fromStorage);
      await change(digest);
      assert.equal(await pull(digest), fromUpstream);
    });
  }

  test('is read from the new folder when the root, a symbolic link, names another', async () => {
    const digest = freshDigest();
    await store(digest);
    const other = path.join(root, '..', 'other');
    await mkdir(other);
    const name = path.join(root, '..', 'next');
    await symlink('other', name);
    await rename(name, linkedRoot);
    assert.equal(await pull(digest), fromUpstream);
    await symlink('real', name);
    await rename(name, linkedRoot);
    assert.equal(await pull(digest), fromStorage);
  });

  test('only names and digests in their one proper form lead into it', async () => {
    const digest = freshDigest();
    for (const name of [
      'Team/app',
      'team/-app',
      'team/app-',
      'team/a__.b',
      'team/a...b',
      '_x',
      'a/_layers/b',
      'ä',
    ]) {
      await store(digest, name);
      assert.match(await pull(digest, encodeURI(name)), /NAME_INVALID/, name);
    }
    await store(digest);
    const hex = hexOf(digest);
    for (const other of [
      `sha256:${hex.toUpperCase()}`,
      `SHA256:${hex}`,
      `sha256:${hex}0`,
      `sha256:${hex.slice(1)}`,
      `sha512:${hex}`,
      `sha384:${hex}${hex.slice(32)}`,
      `sha256:${hex}/data`,
      `uploads/${digest}`,
      `${digest}/`,
      `${digest}%00`,
      `x${digest}`,
    ]) {
      assert.notEqual(await pull(other), fromStorage, other);
    }
    for (const name of [
      '..',
      '../..',
      '%2e%2e',
      'team/../team/app',
      'team//app',
      '/team/app',
      'team%2fapp',
      'team/./app',
    ]) {
      assert.notEqual(await pull(digest, name), fromStorage, name);
    }
    assert.equal(await pull(digest.replace(':', '%3A')), fromStorage);
    const long = `sha512:${randomBytes(64).toString('hex')}`;
    await store(long);
    assert.equal(await pull(long), fromStorage);
  });

  for (const [what, answer] of [
    ['401', () => head('HTTP/1.1 401 Unauthorized', 'Content-Length: 0')],
    ['404', () => head('HTTP/1.1 404 Not Found', 'Content-Length: 10')],
    [
      '307',
      () => head('HTTP/1.1 307 Temporary Redirect', 'Location: https://s3.example/x', 'Content-Length: 0'),
    ],
    ['203', (digest: string) => blobHead(digest, { status: '203 Non-Authoritative Information' })],
    ['another length', (digest: string) => blobHead(digest, { length: size + 1 })],
    ['no length', (digest: string) => head('HTTP/1.1 200 OK', `Docker-Content-Digest: ${digest}`)],
    [
      'chunks',
      (digest: string) =>
        head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', `Docker-Content-Digest: ${digest}`),
    ],
    ['another digest', () => blobHead(freshDigest())],
    ['no digest', () => head('HTTP/1.1 200 OK', `Content-Length: ${size}`)],
    ['two digests', (digest: string) => blobHead(digest, { lines: [`Docker-Content-Digest: ${digest}`] })],
    ['a coding', (digest: string) => blobHead(digest, { lines: ['Content-Encoding: gzip'] })],
    [
      '200 with a range',
      (digest: string) => blobHead(digest, { lines: [`Content-Range: bytes 0-1/${size}`] }),
    ],
    ['206 with no range', (digest: string) => blobHead(digest, { status: '206 Partial Content' })],
    ...[
      'bytes 0-1/99',
      'bytes 0-2/16',
      'bytes 2-1/16',
      'bytes 15-16/16',
      'bytes 0-1/*',
      'bytes */16',
      'bytes -1-0/16',
      '0-1/16',
      'bytes 0-1/16, 2-3/16',
      'bytes 1e0-2/16',
    ].map(
      (range) =>
        [
          `206 with Content-Range: ${range}`,
          (digest: string) =>
            blobHead(digest, {
              status: '206 Partial Content',
              length: 2,
              lines: [`Content-Range: ${range}`],
            }),
        ] as const,
    ),
  ] as const) {
    test(`is not read when upstream's head is ${what}`, async () => {
      const digest = freshDigest();
      await store(digest);
      answerHead = (request, asked) => request.answer(answer(asked));
      const before = upstream.requests.length;
      assert.equal(await pull(digest), fromUpstream);
      assert.deepEqual(requestsSince(before), ['HEAD', 'GET']);
    });
  }

  test("gives the range that upstream's head names", async () => {
    const digest = freshDigest();
    await store(digest);
    answerHead = (request, asked) =>
      request.answer(
        blobHead(asked, {
          status: '206 Partial Content',
          length: 3,
          lines: ['Content-Range: bytes 13-15/16'],
        }),
      );
    assert.equal(await pull(digest), fromStorage.slice(13));
  });

  test('waits for upstream no longer than the client does, and lets it send what it does not say a word about', async () => {
    const digest = freshDigest();
    await store(digest);
    answerHead = (request) => request.socket.destroy();
    const broken = await exchange(frontDoor, authorized(`GET /v2/${repository}/blobs/${digest}`));
    assert.deepEqual([broken.status, broken.body.toString()], [200, fromUpstream]);
    const asked = new Promise<UpstreamRequest>((resolve) => (answerHead = resolve));
    const client = await connectClient(frontDoor);
    client.send(authorized(`GET /v2/${repository}/blobs/${digest}`, 'User-Agent: leaver'));
    const request = await asked;
    client.leave();
    await request.closed;
    const line = await frontDoor.logged(({ userAgent }) => userAgent === 'leaver');
    assert.equal(line['status'], 0);
  });
});

describe('a storage that cannot be read', { timeout: 240_000 }, () => {
  /** The superuser reads everything, unless that capability is taken away. */
  const within =
    process.getuid?.() === 0
      ? [
          'setpriv',
          '--inh-caps=-dac_override,-dac_read_search',
          '--bounding-set=-dac_override,-dac_read_search',
        ]
      : [];
  test('is named at the start and once a minute, and upstream sends the blobs', async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'tidegate-storage-'));
    const upstream = await startUpstream({
      script: (request) => request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${size}`), fromUpstream),
    });
    const digest = freshDigest();
    await storeBlob(root, repository, digest, Buffer.from(fromStorage));
    await chmod(path.join(root, 'docker'), 0);
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [`upstream.storage=${root}`],
      within,
    });
    try {
      for (let i = 0; i < 3; i += 1) {
        const { body } = await exchange(frontDoor, authorized(`GET /v2/${repository}/blobs/${digest}`));
        assert.equal(body.toString(), fromUpstream);
      }
      const log = await wholeLog(frontDoor);
      const warnings = log.filter((line) => line['level'] === 40).map(({ msg }) => msg);
      assert.equal(warnings.length, 2);
      assert.match(warnings[0] ?? '', /^upstream\.storage \S+ cannot be read: give the user/);
      assert.match(warnings[1] ?? '', /^blobs cannot be read from upstream\.storage: give the user/);
    } finally {
      await frontDoor.stop();
      await upstream.close();
      await chmod(path.join(root, 'docker'), 0o700);
      await rm(root, { recursive: true });
    }
  });

  test('is named when it is not there, not a registry, or behind a symbolic link', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-storage-'));
    await mkdir(path.join(dir, 'wrong/something'), { recursive: true });
    await mkdir(path.join(dir, 'empty'));
    await mkdir(path.join(dir, 'cleaner-only/tidegate-clean'), { recursive: true });
    await mkdir(path.join(dir, 'target/registry/v2/blobs'), { recursive: true });
    await mkdir(path.join(dir, 'linked'));
    await symlink('../target', path.join(dir, 'linked/docker'));
    try {
      for (const [folder, expected] of [
        ['missing', /missing has no docker\/registry\/v2\/blobs in it: name the registry's/],
        ['wrong', /wrong has no docker\/registry\/v2\/blobs in it/],
        ['linked', /linked has a symbolic link in docker\/registry\/v2\/blobs/],
        ['empty', null],
        ['cleaner-only', null],
      ] as const) {
        const frontDoor = await startFrontDoor({
          upstreamUrl: 'http://127.0.0.1:9',
          set: [`upstream.storage=${dir}/${folder}`],
        });
        await frontDoor.stop();
        const warnings = frontDoor.log.filter((line) => line['level'] === 40);
        if (expected === null) assert.deepEqual(warnings, []);
        else assert.match(warnings[0]?.msg ?? '', expected);
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
