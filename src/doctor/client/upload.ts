import { attempt, skipAll } from '../check.ts';
import { explainStatus } from './challenge.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import type { HttpAnswer, Send } from './http-sender.ts';
import { formatAuthority, type Target } from './target.ts';

export const uploadIds = [
  'upload.start',
  'upload.location',
  'upload.chunked',
  'upload.status',
  'upload.cancel',
] as const;

/** More than the 1 MiB that nginx and others allow by default. */
const uploadBytes = 2 * 1024 * 1024 + 16 * 1024;
const chunkBytes = 65_536;
const uploadLimitMs = 20_000;

const wayOut = 'journalctl -u tidegate has the request';
const proxyFix =
  'remove the limit in the proxy before Tidegate (nginx: client_max_body_size 0; proxy_request_buffering off;)';

/** A user who may push, and the repository. */
export type Upload = {
  readonly send: Send;
  readonly target: Target;
  readonly repository: string;
  readonly authorization: string;
};

/** Begins an upload, sends it in chunks, asks for its progress, and cancels it. */
export async function tryUpload(
  { send, target, repository, authorization }: Upload,
  signal: AbortSignal,
): Promise<Finding[]> {
  const headers = { Authorization: authorization };
  const started = await send({ method: 'POST', path: `/v2/${repository}/blobs/uploads/`, headers }, signal);
  if (started.status !== 202) {
    const { what, fix } = explainStatus(started);
    return [
      broken('upload.start', `The start of an upload is ${what}.`, fix),
      ...skipAll(uploadIds.slice(1), 'No upload could be started.'),
    ];
  }
  const findings = [ok('upload.start', `An upload to ${repository} can be started (202).`)];
  const { finding, path } = judgeLocation(started.headers.location, target);
  findings.push(finding);
  if (path === null) return [...findings, ...skipAll(uploadIds.slice(2), 'The upload has no Location.')];

  const { chunked, place } = await sendChunks(send, path, target, headers, signal);
  findings.push(chunked);
  const isSent = chunked.state === 'ok';
  findings.push(
    isSent
      ? await attempt('upload.status', wayOut, async () =>
          judgeStatus(await send({ method: 'GET', path: place, headers }, signal)),
        )
      : skipped('upload.status', 'The upload did not get that far.'),
  );
  findings.push(
    await attempt('upload.cancel', wayOut, async () => {
      const cancelled = await send({ method: 'DELETE', path: place, headers }, signal);
      const after = await send({ method: 'GET', path: place, headers }, signal);
      return judgeCancel(cancelled, after, isSent);
    }),
  );
  return findings;
}

/** Sends the body; `place` is the upload's address from then on. */
async function sendChunks(
  send: Send,
  path: string,
  target: Target,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ readonly chunked: Finding; readonly place: string }> {
  let place = path;
  const chunked = await attempt('upload.chunked', proxyFix, async () => {
    const patched = await send(
      {
        method: 'PATCH',
        path,
        headers: { ...headers, 'Content-Type': 'application/octet-stream' },
        body: chunks(),
        limitMs: uploadLimitMs,
      },
      signal,
    );
    place = pathOf(patched.headers.location, target) ?? path;
    return judgeChunked(patched);
  });
  return { chunked, place };
}

/**
 * Judges the Location of an upload (distribution-spec, "Pushing a blob in chunks") and returns its path and query for
 * use on this server, whatever host it names; null when it is unreadable.
 */
export function judgeLocation(
  location: string | undefined,
  target: Target,
): { readonly finding: Finding; readonly path: string | null } {
  const check = 'upload.location';
  const authority = formatAuthority(target);
  const fix =
    "a proxy before Tidegate must forward Host and leave Location alone (nginx: proxy_set_header Host $http_host; proxy_redirect off;); leave http.host out of the registry's configuration";
  if (location === undefined || !URL.canParse(location, `https://${authority}`)) {
    return { finding: broken(check, 'The answer has no Location to send the upload to.', fix), path: null };
  }
  const url = new URL(location, `https://${authority}`);
  const path = url.pathname + url.search;
  const isHere = url.protocol === 'https:' && url.host === new URL(`https://${authority}`).host;
  const finding = isHere
    ? ok(check, `Location points at https://${authority}.`)
    : broken(
        check,
        `Location points at ${quoteForeign(url.origin)} and not at https://${authority}: clients would send the upload there.`,
        fix,
      );
  return { finding, path };
}

/** Judges the answer to a chunked body of more than 2 MiB. */
export function judgeChunked(answer: Pick<HttpAnswer, 'status' | 'headers'>): Finding {
  const check = 'upload.chunked';
  if (answer.status === 413) {
    const { what } = explainStatus(answer);
    return broken(check, `A body of 2 MiB in chunks is ${what}.`, proxyFix);
  }
  if (answer.status === 411) {
    return broken(
      check,
      'A body in chunks is refused (411), which is how clients push.',
      'a proxy before Tidegate does not speak HTTP/1.1 to it (nginx: proxy_http_version 1.1;)',
    );
  }
  if (answer.status !== 202) {
    const { what, fix } = explainStatus(answer);
    return broken(check, `A body of 2 MiB in chunks is ${what}.`, fix);
  }
  const range = answer.headers.range;
  // Distribution writes "0-N", N being the last byte; so do older versions ("0-LENGTH-1").
  if (range === `0-${uploadBytes - 1}`)
    return ok(check, 'A body of 2 MiB in chunks arrives whole (202, Range right).');
  return broken(
    check,
    `Of ${uploadBytes} bytes sent in chunks the registry has "${quoteForeign(range ?? 'no Range')}".`,
    'is the disk of the registry full? Its log says more: journalctl -u tidegate-registry (or docker-registry)',
  );
}

/** Judges the reported progress of the upload. */
export function judgeStatus(answer: Pick<HttpAnswer, 'status' | 'headers'>): Finding {
  const check = 'upload.status';
  if (answer.status === 204 && answer.headers.range === `0-${uploadBytes - 1}`) {
    return ok(check, 'The progress of the upload is reported (204, Range right).');
  }
  if (answer.status === 204) {
    return warning(
      check,
      `The upload reports "${quoteForeign(answer.headers.range ?? 'no Range')}" of ${uploadBytes} bytes: clients cannot resume it.`,
      'do several registries share one name, but not http.secret and storage?',
    );
  }
  const { what, fix } = explainStatus(answer);
  return broken(check, `The request for the upload's progress is ${what}.`, fix);
}

/** Judges the cancellation of an upload. */
export function judgeCancel(
  cancelled: Pick<HttpAnswer, 'status' | 'headers'>,
  after: Pick<HttpAnswer, 'status'>,
  wasSent: boolean,
): Finding {
  const check = 'upload.cancel';
  if (cancelled.status === 204 && after.status === 404)
    return ok(check, 'The upload is cancelled, and gone.');
  if (!wasSent) {
    return skipped(
      check,
      `The interrupted upload cannot be cancelled (${cancelled.status}): the registry removes it by itself after a week.`,
    );
  }
  const { what, fix } = explainStatus(cancelled);
  return warning(
    check,
    `The cancellation of the upload is ${what}; afterwards the upload gets ${after.status}.`,
    fix,
  );
}

/**
 * Sends the beginning of a body without a password. A server that streams bodies refuses it at once; one that buffers
 * whole bodies waits for the rest.
 */
export async function tryStreaming(send: Send, repository: string, signal: AbortSignal): Promise<Finding> {
  const answer = await send(
    {
      method: 'PATCH',
      path: `/v2/${repository}/blobs/uploads/tidegate-doctor`,
      headers: { 'Content-Type': 'application/octet-stream' },
      body: [Buffer.alloc(1024)],
      leavesBodyOpen: true,
      limitMs: 3000,
    },
    signal,
  ).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ABORT_ERR') return null;
    throw error;
  });
  return judgeStreaming(answer);
}

/** Judges the answer before the end of the body; null for none within three seconds. */
export function judgeStreaming(answer: Pick<HttpAnswer, 'status' | 'headers'> | null): Finding {
  const check = 'upload.streaming';
  if (answer === null) {
    return warning(
      check,
      'A proxy before Tidegate buffers whole bodies: pushes are slow, and fill its disk.',
      'turn that off in the proxy before Tidegate (nginx: proxy_request_buffering off; proxy_http_version 1.1;)',
    );
  }
  if (answer.status === 401) return ok(check, 'Bodies are streamed, and refused before they end.');
  const { what, fix } = explainStatus(answer);
  return warning(check, `An upload without a password is ${what}, not with 401.`, fix);
}

function* chunks(): Generator<Buffer> {
  const chunk = Buffer.alloc(chunkBytes, 'tidegate doctor ');
  for (let left = uploadBytes; left > 0; left -= chunkBytes) {
    yield left >= chunkBytes ? chunk : chunk.subarray(0, left);
  }
}

function pathOf(location: string | undefined, target: Target): string | null {
  return location === undefined ? null : judgeLocation(location, target).path;
}
