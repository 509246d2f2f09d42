import type { Logger } from 'pino';
import { identifyRequest, maxTextLength, roundDuration } from '../../telemetry/log/access-log.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { changeOf, type Change } from '../../registry/change.ts';
import { principalText } from '../../registry/principal.ts';
import { type RawHeaders } from '../../http/raw-headers.ts';
import type { Operation } from '../../registry/operation.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import type { RequestUpstream } from '../../upstream/request.ts';
import type { Exchange } from '../exchange.ts';
import { readContentDigest } from './content-digest.ts';
import { buildInternalHeaders } from './internal-request.ts';
import { createManifestObserver, type ObservedManifest } from './manifest-observer.ts';

/** Logs one line for each forwarded push and delete, whatever its outcome. */
export type Audit = {
  /**
   * Call it before such a request is forwarded: looks up what the tag names until then. Null for any other request;
   * never rejects.
   */
  begin(exchange: Exchange, operation: Operation, target: CanonicalTarget): Promise<AuditedRequest | null>;
};

export type AuditedRequest = {
  /** Call it as soon as the request is being forwarded, before its body is read. */
  forwarded(): void;
  /** Call it with upstream's answer, before the client gets it. */
  answered(status: number, rawHeaders: RawHeaders): void;
};

export type AuditOptions = {
  readonly logger: Logger;
  readonly requestUpstream: RequestUpstream;
  /** A whole Authorization value for upstream; null for none. */
  readonly upstreamAuthorization: string | null;
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
  /** How many bytes of all manifests in progress are kept for their lines. */
  readonly maxKeptBytes: number;
};

/** How long a push waits for the lookup of its tag's old digest, in milliseconds. */
const oldDigestLimitMs = 2000;
/** A tag's old digest; `isKnown` false: upstream did not say. */
type OldDigest = { readonly digest: string | null; readonly isKnown: boolean };

/** The outcome of a request: `unknown` when it may have taken effect without an answer. */
type Result = 'success' | 'failure' | 'unknown';

export function createAudit({
  logger,
  requestUpstream,
  upstreamAuthorization,
  now,
  maxKeptBytes,
}: AuditOptions): Audit {
  const observeManifest = createManifestObserver({ maxKeptBytes });
  // Written at any log.level: log.audit switches it off.
  const lines = logger.child({}, { level: 'info' });

  const fetchOldDigest = async (exchange: Exchange, { rawPath }: CanonicalTarget): Promise<OldDigest> => {
    const { res } = exchange;
    const asking = new AbortController();
    const stop = () => asking.abort();
    const timer = setTimeout(stop, oldDigestLimitMs);
    res.once('close', stop);
    try {
      const headers = buildInternalHeaders(exchange, upstreamAuthorization);
      const answer = await requestUpstream(
        { method: 'HEAD', rawTarget: rawPath, headers },
        { maxBytes: 0, signal: asking.signal },
      );
      const digest = answer?.status === 200 ? readContentDigest(answer.rawHeaders) : null;
      return { digest, isKnown: digest !== null || answer?.status === 404 };
    } catch {
      return { digest: null, isKnown: false };
    } finally {
      clearTimeout(timer);
      res.off('close', stop);
    }
  };

  const begin: Audit['begin'] = async (exchange, operation, target) => {
    const change = changeOf(operation);
    if (change === null || exchange.res.destroyed) return null;
    const old = change.tag === null || change.isV1 ? null : await fetchOldDigest(exchange, target);
    let body: ObservedManifest | undefined;
    let isWritten = false;

    const write = (status: number, result: Result, rawHeaders: RawHeaders) => {
      if (isWritten) return;
      isWritten = true;
      lines.info(
        {
          ...identifyRequest(exchange),
          user: principalText(exchange.principal),
          ...(change.action === 'push'
            ? describePush(change, old, body, result, rawHeaders)
            : describeDelete(change, old)),
          status,
          result,
          durationMs: roundDuration(now() - exchange.startedAtMs),
          client: exchange.clientAddress,
        },
        change.action,
      );
    };
    return {
      forwarded: () => {
        if (change.action === 'push') body = observeManifest(exchange.req);
        exchange.res.once('close', () => {
          const { errorCode, res } = exchange;
          // A body over the limit was cut off; in any other case upstream may have received all.
          const result = errorCode === 'SIZE_INVALID' ? 'failure' : 'unknown';
          write(res.headersSent ? res.statusCode : 0, result, []);
          body?.drop();
        });
      },
      answered: (status, rawHeaders) =>
        write(status, status >= 200 && status < 300 ? 'success' : 'failure', rawHeaders),
    };
  };

  return { begin };
}

function describePush(
  change: Change,
  old: OldDigest | null,
  body: ObservedManifest | undefined,
  result: Result,
  rawHeaders: RawHeaders,
): Record<string, unknown> {
  // A refused body may not have been read completely.
  const image = result === 'success' ? body?.read() : undefined;
  const digest =
    change.digest ?? readContentDigest(rawHeaders) ?? (change.isV1 ? null : image?.digest) ?? null;
  return {
    repository: clientText(change.repository),
    tag: clientText(change.tag),
    ...(change.furtherTags.length === 0 ? {} : { furtherTags: change.furtherTags.map(clientText) }),
    digest: clientText(digest),
    ...describeOld('oldDigest', old),
    ...(change.isV1 ? { imageId: image?.imageId ?? null } : {}),
    bytes: body?.bytes() ?? 0,
    imageBytes: image?.imageBytes ?? null,
  };
}

function describeDelete(change: Change, old: OldDigest | null): Record<string, unknown> {
  return {
    object: change.object,
    repository: clientText(change.repository),
    tag: clientText(change.tag),
    ...(old === null ? { digest: clientText(change.digest) } : describeOld('digest', old)),
  };
}

function describeOld(name: string, old: OldDigest | null): Record<string, unknown> {
  return { [name]: old?.digest ?? null, ...(old?.isKnown === false ? { oldDigestUnknown: true } : {}) };
}

function clientText(text: string | null): string | null {
  return text === null ? null : printable(text.slice(0, maxTextLength));
}
