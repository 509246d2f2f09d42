import type { AnnouncedWrite, AnswerCache } from '../../cache/answer-cache.ts';
import type { Leases } from '../../leases/leases.ts';
import type { Written } from '../../cache/cacheable.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import type { User } from '../../registry/principal.ts';
import type { Operation } from '../../registry/operation.ts';
import type { Forwarder, ForwardRequest } from '../../upstream/forward.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { AuthorizedRequest } from '../authorize/authorize.ts';
import { endAnswer } from '../error-response.ts';
import type { Exchange } from '../exchange.ts';
import type { RefusedBodies } from '../refused-bodies.ts';
import type { EditsFor } from '../response-edits.ts';
import type { UpstreamHeaders } from './request-for-upstream.ts';
import type { UpstreamWarnings } from '../upstream-warnings.ts';
import { noteAnswer, noteHead } from './lease-notes.ts';
import type { GuardPush } from './push-guard.ts';
import { readContentDigest } from './content-digest.ts';
import type { AuditedRequest } from './audit.ts';
import type { Alone, DeleteGate, GatePass } from './delete-gate.ts';
import type { HiddenTombstones } from '../tag-delete/hidden-tombstones.ts';
import type { DeleteTag } from '../tag-delete/delete-tag.ts';

export type ForwardStageOptions = {
  /** Remembers a token of the first protocol that upstream gave to a user; null: its tokens prove nothing here. */
  readonly rememberToken: ((token: string, user: User) => Promise<void>) | null;
  readonly forwarder: Forwarder;
  readonly cache: AnswerCache | null;
  readonly gate: DeleteGate;
  readonly deleteTag: DeleteTag;
  readonly tombstones: Pick<HiddenTombstones, 'check'>;
  /** What clients are told is there; null: nobody asks. */
  readonly leases: Pick<Leases, 'note'> | null;
  /** Null: no manifest is ever taken behind the registry's back. */
  readonly guardPush: GuardPush | null;
  readonly editsFor: EditsFor;
  readonly refusedBodies: RefusedBodies;
  readonly warnings: UpstreamWarnings;
  readonly upstreamHeaders: UpstreamHeaders;
  /** The largest body that goes on, in bytes. */
  readonly maxBodyBytes: (operation: Operation) => number;
};

/** How a request is forwarded. */
export type Way = Authentication &
  AuthorizedRequest &
  Pick<ForwardRequest, 'outlivesClient'> & {
    /** What it is to upstream. */
    readonly operation: Operation;
  };

/**
 * Forwards a request to upstream, and tells the cache what it changes, before and after. A delete runs alone in its
 * repository.
 */
export type ForwardStage = (
  exchange: Exchange,
  written: Written | null,
  way: Way,
  audited: AuditedRequest | null,
) => Promise<void>;

/** A way with what happens on it. */
type OpenWay = Way & {
  /** Called when upstream has answered. */
  readonly answered?: () => void;
};

export function createForwardStage(options: ForwardStageOptions): ForwardStage {
  const { rememberToken, forwarder, cache, gate, editsFor, refusedBodies } = options;
  const { warnings, upstreamHeaders, maxBodyBytes, deleteTag, tombstones, leases, guardPush } = options;

  const forward = async (
    exchange: Exchange,
    written: Written | null,
    way: OpenWay,
    audited: AuditedRequest | null,
  ): Promise<void> => {
    if (leases !== null) noteHead(leases, way.operation);
    const announced = written === null ? undefined : await cache?.announceWrite(written);
    try {
      const pass = gate.open(exchange, way.operation);
      try {
        const held = pass?.from === 'head' ? pass.enter() : undefined;
        if (held) await held;
        await transfer(exchange, way, { pass, announced, audited });
      } finally {
        pass?.close();
      }
    } finally {
      await announced?.end();
    }
  };

  const transfer = async (
    exchange: Exchange,
    way: OpenWay,
    {
      pass,
      announced,
      audited,
    }: {
      readonly pass: GatePass | null;
      readonly announced: AnnouncedWrite | undefined;
      readonly audited: AuditedRequest | null;
    },
  ): Promise<void> => {
    const { req, res } = exchange;
    if (res.destroyed) return;
    exchange.connection.readBody();
    if (exchange.expectation === 'continue') res.writeContinue();
    const edits = editsFor(exchange);
    const push = guardPush?.(exchange, way.operation) ?? null;
    const forwarded = forwarder.forward({
      req,
      res,
      rawTarget: way.rawTarget,
      headers: upstreamHeaders(exchange, way),
      edits,
      editLocation: way.editLocation,
      maxBodyBytes: maxBodyBytes(way.operation),
      beforeEnd: pass?.from === 'body' ? () => push?.beforeEnd(pass) ?? pass.enter() : undefined,
      outlivesClient: way.outlivesClient,
      onResponse: (status, rawHeaders) => {
        if (leases !== null) noteAnswer(leases, way.operation, { status, rawHeaders }, req.rawHeaders);
        pass?.settled();
        way.answered?.();
        audited?.answered(status, rawHeaders);
        if (way.operation.kind === 'manifest') exchange.manifestDigest = readContentDigest(rawHeaders);
        if (status === 401) warnings.challenge(exchange);
        if (status === 201 || status === 202) warnings.foreignPlace(exchange, rawHeaders, edits.names);
        const remembered = rememberTokens(rawHeaders, way);
        const checked = checkManifest(exchange, way, status, rawHeaders);
        if (remembered.length === 0 && checked === undefined) return announced?.end();
        return Promise.all([...remembered, checked, announced?.end()]).then(() => {});
      },
    });
    exchange.transfer = forwarded;
    // The log does not wait for a write that outlives its client.
    if (way.outlivesClient)
      res.once('close', () => {
        if (!res.writableFinished) exchange.reason ??= 'client-left';
      });
    audited?.forwarded();
    push?.forwarded();
    const end = await forwarded.ended;
    if (end === 'relayed') endAnswer(exchange, refusedBodies);
    else exchange.reason = end;
  };

  const rememberTokens = (rawHeaders: RawHeaders, { principal }: Authentication): Promise<void>[] =>
    principal.kind === 'user' && rememberToken !== null
      ? headerValues(rawHeaders, 'x-docker-token').map((token) => rememberToken(token, principal))
      : [];

  const checkManifest = (exchange: Exchange, { operation }: Way, status: number, rawHeaders: RawHeaders) =>
    operation.kind === 'manifest' && operation.reads
      ? tombstones.check(exchange, operation.repository, status, rawHeaders)
      : undefined;

  const deleteTagAlone = async (
    exchange: Exchange,
    written: Written | null,
    way: Way & { readonly operation: TagDelete },
    audited: AuditedRequest | null,
    { lost, answered }: Alone,
  ): Promise<void> => {
    const { operation, rawTarget } = way;
    const announced = written === null ? undefined : await cache?.announceWrite(written);
    try {
      if (exchange.res.destroyed) return;
      audited?.forwarded();
      await deleteTag.run(exchange, {
        ...{ repository: operation.repository, tag: operation.tag, lost },
        asked: { rawTarget, headers: upstreamHeaders(exchange, way) },
        ended: async (status) => {
          answered();
          audited?.answered(status, []);
          await announced?.end();
        },
      });
    } finally {
      await announced?.end();
    }
  };

  return async (exchange, written, way, audited) => {
    const { operation } = way;
    if (exchange.method !== 'DELETE') return forward(exchange, written, way, audited);
    if (!isTagDelete(operation) || hasBody(exchange))
      return gate.alone(exchange, operation, (alone) =>
        forward(exchange, written, joinAlone(way, alone), audited),
      );
    await deleteTag.prepare();
    return gate.alone(exchange, operation, (alone) =>
      deleteTagAlone(exchange, written, { ...way, operation }, audited, alone),
    );
  };
}

type TagDelete = Extract<Operation, { kind: 'manifest' }> & { readonly tag: string };

/** Whether a DELETE is that of a tag. */
function isTagDelete(operation: Operation): operation is TagDelete {
  return operation.kind === 'manifest' && operation.tag !== null && !operation.hasQuery;
}

/** Whether a request has content; none of the registry API's deletes has. Upstream gets it, and says what it makes of it. */
function hasBody({ req }: Exchange): boolean {
  return Number(req.headers['content-length'] ?? 0) > 0;
}

/** The way of a delete, whose end is waited for by others. */
function joinAlone(way: Way, { answered, outlivesClient }: Alone): OpenWay {
  const { outlivesClient: others } = way;
  return { ...way, answered, outlivesClient: () => outlivesClient() && others?.() !== false };
}
