import { createHash } from 'node:crypto';
import { attempt, skipAll } from '../check.ts';
import { explainStatus } from './challenge.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import type { HttpAnswer, Send } from './http-sender.ts';
import { judgeLocation, type Upload } from './upload.ts';

export const blobIds = ['blob.push', 'blob.read', 'blob.delete'] as const;

const wayOut = 'journalctl -u tidegate has the request';
/** A digest that no known blob has. */
const unknownDigest = `sha256:${'0'.repeat(64)}`;

/**
 * Pushes a small blob, reads it back and deletes it, but only if the registry allows deletes. The same machine always
 * pushes the same blob, so at most one waits for the registry's garbage collection.
 */
export async function tryBlob(
  { send, target, repository, authorization }: Upload,
  machine: string,
  signal: AbortSignal,
): Promise<Finding[]> {
  const headers = { Authorization: authorization };
  const blobs = `/v2/${repository}/blobs`;
  const probe = await send({ method: 'DELETE', path: `${blobs}/${unknownDigest}`, headers }, signal);
  if (probe.status !== 404 && probe.status !== 202) {
    const why = probe.status === 405 ? 'the registry does not allow deletes' : explainStatus(probe).what;
    return skipAll(blobIds, `Nothing is pushed that could not be deleted again (${why}).`);
  }
  const content = Buffer.from(`tidegate doctor ${createHash('sha256').update(machine).digest('hex')}\n`);
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;

  const pushed = await attempt('blob.push', wayOut, async () => {
    const started = await send({ method: 'POST', path: `${blobs}/uploads/`, headers }, signal);
    const { path } = judgeLocation(started.headers.location, target);
    if (started.status !== 202 || path === null) return judgePush(started, digest);
    const put = await send(
      {
        method: 'PUT',
        path: `${path}${path.includes('?') ? '&' : '?'}digest=${digest}`,
        headers: {
          ...headers,
          'Content-Type': 'application/octet-stream',
          'Content-Length': String(content.length),
        },
        body: [content],
      },
      signal,
    );
    return judgePush(put, digest);
  });
  if (pushed.state === 'broken') return [pushed, ...skipAll(blobIds.slice(1), 'Nothing was pushed.')];
  const read = await attempt('blob.read', wayOut, () =>
    readBack(send, `${blobs}/${digest}`, headers, content, signal),
  );
  const deleted = await attempt('blob.delete', wayOut, async () => {
    const answer = await send({ method: 'DELETE', path: `${blobs}/${digest}`, headers }, signal);
    const after = await send({ method: 'HEAD', path: `${blobs}/${digest}`, headers }, signal);
    return judgeDelete(answer, after);
  });
  return [pushed, read, deleted];
}

async function readBack(
  send: Send,
  path: string,
  headers: Readonly<Record<string, string>>,
  content: Buffer,
  signal: AbortSignal,
): Promise<Finding> {
  const whole = await send({ method: 'GET', path, headers }, signal);
  const part = await send({ method: 'GET', path, headers: { ...headers, Range: 'bytes=0-7' } }, signal);
  return judgeRead(whole, part, content);
}

/** Judges the answer to a pushed blob: 201 and its digest. */
export function judgePush(answer: Pick<HttpAnswer, 'status' | 'headers'>, digest: string): Finding {
  const check = 'blob.push';
  if (answer.status !== 201) {
    const { what, fix } = explainStatus(answer);
    return broken(check, `A small blob is ${what}.`, fix);
  }
  if (answer.headers['docker-content-digest'] !== digest) {
    return warning(
      check,
      'A small blob is accepted, but the answer lacks Docker-Content-Digest.',
      'let the proxy before Tidegate forward all response headers',
    );
  }
  return ok(check, 'A small blob is accepted, and its digest confirmed.');
}

/** Judges a blob that is read whole and in part. */
export function judgeRead(
  whole: Pick<HttpAnswer, 'status' | 'headers' | 'body'>,
  part: Pick<HttpAnswer, 'status' | 'body'>,
  content: Buffer,
): Finding {
  const check = 'blob.read';
  if (whole.status === 307 || whole.status === 302) {
    const place = whole.headers.location ?? '';
    const origin = URL.canParse(place) ? new URL(place).origin : 'nowhere';
    return skipped(
      check,
      `The registry sends clients to ${quoteForeign(origin)} for blobs, which is not checked.`,
    );
  }
  if (whole.status !== 200) {
    const { what, fix } = explainStatus(whole);
    return broken(check, `The blob that was pushed is ${what}.`, fix);
  }
  if (!whole.body.equals(content)) {
    return broken(
      check,
      'The blob that was pushed comes back with other bytes.',
      'a proxy in between changes bodies: turn off compression and rewriting there',
    );
  }
  if (part.status !== 206 || !part.body.equals(content.subarray(0, 8))) {
    return warning(
      check,
      `The blob comes back whole, but not in part (${part.status}, not 206): clients cannot resume a pull.`,
      'let the proxy before Tidegate forward Range',
    );
  }
  return ok(check, 'The blob comes back byte for byte, whole and in part.');
}

/** Judges the blob's deletion. */
export function judgeDelete(
  answer: Pick<HttpAnswer, 'status' | 'headers'>,
  after: Pick<HttpAnswer, 'status'>,
): Finding {
  const check = 'blob.delete';
  if (answer.status === 202 && after.status === 404) {
    return ok(check, 'The blob is deleted, and gone; its bytes wait for the registry to collect garbage.');
  }
  const { what, fix } = explainStatus(answer);
  return warning(
    check,
    `The deletion of the blob is ${what}; afterwards the blob gets ${after.status}.`,
    fix,
  );
}
