import { OciError } from '../../registry/error.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import type { BlobName } from '../../registry/operation.ts';
import type { RequestUpstream, InternalRequest } from '../../upstream/request.ts';
import { buildClientHeaders } from '../../upstream/response-headers.ts';
import type { BlobStorage } from '../../storage/blob-storage.ts';
import type { FilePart } from '../../storage/file-transfer.ts';
import type { Leases } from '../../leases/leases.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { AuthorizedRequest } from '../authorize/authorize.ts';
import { endAnswer } from '../error-response.ts';
import { whileClientStays } from '../while-client-stays.ts';
import type { Exchange } from '../exchange.ts';
import type { EditsFor } from '../response-edits.ts';
import type { RefusedBodies } from '../refused-bodies.ts';
import type { UpstreamHeaders } from './request-for-upstream.ts';

type StoredAnswerOptions = {
  readonly blobs: BlobStorage;
  readonly requestUpstream: RequestUpstream;
  readonly editsFor: EditsFor;
  readonly refusedBodies: RefusedBodies;
  /** What clients are told is there; null: nobody asks. */
  readonly leases: Pick<Leases, 'note'> | null;
};

export type StorageStageOptions = Pick<StoredAnswerOptions, 'editsFor' | 'refusedBodies' | 'leases'> & {
  /** The registry's files, and the function that asks the registry about them; null: it sends every blob itself. */
  readonly storage: Pick<StoredAnswerOptions, 'blobs' | 'requestUpstream'> | null;
  readonly upstreamHeaders: UpstreamHeaders;
};

/** Answers a blob's GET from the registry's files; returns false if upstream must send it. */
export type AnswerFromStorage = (
  exchange: Exchange,
  name: BlobName,
  request: Authentication & AuthorizedRequest,
) => Promise<boolean>;

export function createStorageStage({
  storage,
  editsFor,
  refusedBodies,
  leases,
  upstreamHeaders,
}: StorageStageOptions): AnswerFromStorage {
  const answering = storage && { ...storage, editsFor, refusedBodies, leases };
  return async (exchange, name, request) => {
    if (answering === null || exchange.method !== 'GET') return false;
    if (request.keepAuthorization || exchange.expectation !== 'none') return false;
    const head = { rawTarget: request.rawTarget, headers: upstreamHeaders(exchange, request) };
    return respondFromStorage(exchange, name, head, answering);
  };
}

/**
 * Answers a GET of a blob with the head that the registry itself gives to a HEAD of the same, and with the bytes that it would send,
 * read from its files. So the registry decides about each request, and about every header; nothing of what it says is kept. Gives false
 * when it is to send the body too.
 * @param request the target and the fields of the request for upstream
 * @throws OciError when upstream gave no answer.
 */
async function respondFromStorage(
  exchange: Exchange,
  name: BlobName,
  { rawTarget, headers }: Pick<InternalRequest, 'rawTarget' | 'headers'>,
  { blobs, requestUpstream, editsFor, refusedBodies, leases }: StoredAnswerOptions,
): Promise<boolean> {
  const { res } = exchange;
  const blob = await blobs.open(name);
  if (blob === null) return false;
  try {
    const head = await whileClientStays(exchange, (signal) =>
      requestUpstream({ method: 'HEAD', rawTarget, headers }, { maxBytes: 0, signal }),
    ).catch(ignoreUnreadable);
    if (res.destroyed) return true;
    const part = head && findPromisedPart(head, name, blob.sizeBytes);
    if (!part) return false;
    leases?.note(`${name.algorithm}:${name.hex}`);
    try {
      res.writeHead(head.status, head.reason, buildClientHeaders(head.rawHeaders, editsFor(exchange)));
    } catch (cause) {
      throw new OciError('BAD_GATEWAY', 'The registry sent an answer that is not valid HTTP.', { cause });
    }
    exchange.source = 'storage';
    const transfer = blob.send(res, part);
    exchange.transfer = transfer;
    const end = await transfer.ended;
    if (end === 'relayed') endAnswer(exchange, refusedBodies);
    else exchange.reason = end;
    return true;
  } finally {
    await blob.close();
  }
}

/** An unreadable answer to HEAD says nothing about GET. */
function ignoreUnreadable(error: unknown): null {
  if (error instanceof OciError && error.code === 'BAD_GATEWAY') return null;
  throw error;
}

const oneRange = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/**
 * Reads from an answer to HEAD which bytes of the blob the answer to a GET would have: all of them, or one range (RFC 9110 section
 * 14.4). Null: it would be any other answer, or does not fit the file.
 */
export function findPromisedPart(
  { status, rawHeaders }: { readonly status: number; readonly rawHeaders: RawHeaders },
  { algorithm, hex }: BlobName,
  sizeBytes: number,
): FilePart | null {
  const only = (field: string): string | undefined => {
    const values = headerValues(rawHeaders, field);
    return values.length === 1 ? values[0] : undefined;
  };
  const has = (field: string) => headerValues(rawHeaders, field).length > 0;
  if (only('docker-content-digest') !== `${algorithm}:${hex}`) return null;
  if (has('content-encoding') || has('transfer-encoding')) return null;
  const length = only('content-length');
  if (status === 200 && !has('content-range')) {
    return length === String(sizeBytes) ? { start: 0, lengthBytes: sizeBytes } : null;
  }
  if (status !== 206) return null;
  const [, first, last, size] = oneRange.exec(only('content-range') ?? '') ?? [];
  const start = Number(first);
  const lengthBytes = Number(last) - start + 1;
  const fits = size === String(sizeBytes) && lengthBytes > 0 && start + lengthBytes <= sizeBytes;
  return fits && length === String(lengthBytes) ? { start, lengthBytes } : null;
}
