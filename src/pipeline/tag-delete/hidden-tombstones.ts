import { OciError } from '../../registry/error.ts';
import { parseOperation } from '../../registry/operation.ts';
import { parseTarget } from '../../registry/target.ts';
import { isTombstone, mayBeTombstone } from '../../registry/tombstone.ts';
import type { Fetched, InternalRequest, RequestUpstream } from '../../upstream/request.ts';
import type { RawHeaders } from '../../http/raw-headers.ts';
import type { Exchange } from '../exchange.ts';
import { readContentDigest } from '../serve/content-digest.ts';
import { buildInternalHeaders } from '../serve/internal-request.ts';

/**
 * Hides the manifests that stand for deleted tags: until an interrupted removal has come to its end, its tag leads to one.
 */
export type HiddenTombstones = {
  /** The same function, to which they are not there. */
  hide(requestUpstream: RequestUpstream): RequestUpstream;
  /**
   * Checks an answer to a GET or HEAD of a manifest; undefined: it is no tombstone, as hardly any is. @throws OciError
   * MANIFEST_UNKNOWN, as the promise does
   */
  check(
    exchange: Exchange,
    repository: string,
    status: number,
    rawHeaders: RawHeaders,
  ): Promise<void> | undefined;
};

/** A longer manifest is no tombstone. */
const maxTombstoneBytes = 1024;
/** Tidegate's own requests need no credentials of a client. */
const noOpenPaths: ReadonlySet<string> = new Set();

/**
 * @param requestUpstream asks for what an answer does not tell
 * @param authorization a whole Authorization value for upstream; null for none
 */
export function createHiddenTombstones(
  requestUpstream: RequestUpstream,
  authorization: string | null,
): HiddenTombstones {
  const isTombstoneAt = async (
    repository: string,
    digest: string,
    headers: InternalRequest['headers'],
    signal: AbortSignal,
  ): Promise<boolean> => {
    const rawTarget = `/v2/${repository}/manifests/${digest}`;
    const limits = { maxBytes: maxTombstoneBytes, signal };
    const answer = await requestUpstream({ method: 'GET', rawTarget, headers }, limits);
    return answer?.status === 200 && isTombstone(answer.body);
  };

  return {
    hide: (request) => async (asked, limits) => {
      const answer = await request(asked, limits);
      if (answer?.status !== 200) return answer;
      const digest = readContentDigest(answer.rawHeaders);
      if (!mayBeTombstone(digest)) return answer;
      const operation = parseOperation(asked.method, parseTarget(asked.rawTarget), noOpenPaths);
      if (operation.kind !== 'manifest') return answer;
      const isHidden =
        asked.method === 'HEAD'
          ? await isTombstoneAt(operation.repository, digest, asked.headers, limits.signal)
          : isTombstone(answer.body);
      return isHidden ? absent(asked.method === 'HEAD') : answer;
    },
    check: (exchange, repository, status, rawHeaders) => {
      const digest = readContentDigest(rawHeaders);
      if (status >= 400 || !mayBeTombstone(digest)) return undefined;
      const headers = buildInternalHeaders(exchange, authorization);
      return isTombstoneAt(repository, digest, headers, new AbortController().signal).then((isHidden) => {
        if (isHidden) throw unknown();
      });
    },
  };
}

function unknown(): OciError {
  return new OciError('MANIFEST_UNKNOWN', 'The tag was deleted.');
}

function absent(isHead: boolean): Fetched {
  const { code, message } = unknown();
  const body = Buffer.from(isHead ? '' : JSON.stringify({ errors: [{ code, message }] }));
  return {
    status: 404,
    reason: 'Not Found',
    rawHeaders: ['Docker-Distribution-Api-Version', 'registry/2.0', 'Content-Type', 'application/json'],
    body,
  };
}
