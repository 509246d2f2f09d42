import * as z from 'zod';
import { digestForm } from '../../registry/names/digest.ts';
import { maxPullsOf } from '../../usage/usage-question.ts';
import type { ChannelMessage } from './peer.ts';
import type { CleanStatusNumbers, DoorAsk, Evidence, EvidenceQuestion, Hello } from './messages.ts';

const id = z.string().min(1).max(200);
const name = z.string().min(1).max(512);
const names = z.array(name).max(10_000);
const count = z.number().min(0);
/** The longest `clean.grace`. */
export const maxGraceMs = 365 * 86_400_000;
/** The longest reason of a status, in characters. */
export const maxWhyLength = 2000;
const redis = z.object({ me: name, others: names }).nullable();

const hello: z.ZodType<Hello> = z.object({
  kind: z.literal('hello'),
  door: z.object({ id, pid: z.int(), host: name, version: name }),
  serves: z.boolean(),
  graceMs: count.max(maxGraceMs),
});

const status: z.ZodType<CleanStatusNumbers> = z.object({
  running: z.boolean(),
  lastRun: z
    .object({
      endedAt: count,
      result: z.enum(['done', 'refused', 'failed']),
      why: z.string().max(maxWhyLength).nullable(),
      tags: count,
      manifests: count,
      blobs: count,
      bytes: count,
    })
    .nullable(),
  quarantinedBytes: count,
  freeBytes: count.nullable(),
  failures: count,
});

const usageQuestion = z.discriminatedUnion('ask', [
  z.object({ ask: z.literal('repositories'), after: name.exactOptional() }),
  z.object({ ask: z.literal('references'), repository: name, after: name.exactOptional() }),
  z.object({
    ask: z.literal('pulls'),
    repositories: z.array(name).max(maxPullsOf),
    after: z.string().exactOptional(),
  }),
  z.object({
    ask: z.literal('user-days'),
    after: z.object({ user: z.string(), day: z.string(), family: z.string() }).exactOptional(),
  }),
]);

const doorAsk: z.ZodType<DoorAsk> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('lock'),
    id,
    keys: z.array(name).min(1).max(200),
    waitMs: z.number().min(1).max(10_000),
  }),
  z.object({ kind: z.literal('unlock'), id }),
  z.object({ kind: z.literal('evidence'), lockId: id.nullable(), repositories: names, digests: names }),
  z.object({
    kind: z.literal('delete'),
    lockId: id,
    repository: name,
    what: z.enum(['manifest', 'blob']),
    digest: z.string().regex(digestForm),
  }),
  z.object({ kind: z.literal('remove-tag'), repository: name, tag: name, digest: name.nullable() }),
  z.object({
    kind: z.literal('request'),
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH']),
    rawTarget: z.string().max(8192),
    headers: z.record(name, z.string()),
    bodyBase64: z.base64().exactOptional(),
    maxBytes: count.max(8 * 1024 * 1024),
  }),
  z.object({ kind: z.literal('taken'), digests: names, isAll: z.boolean() }),
  z.object({ kind: z.literal('usage'), question: usageQuestion }),
  z.object({ kind: z.literal('pause'), maxPauseMs: count }),
  z.object({ kind: z.literal('resume') }),
  z.object({ kind: z.literal('status'), status }),
]);

/** Null: it is no hello. */
export function parseHello(message: ChannelMessage): Hello | null {
  return hello.safeParse(message).data ?? null;
}

const evidence: z.ZodType<Evidence> = z.object({
  epoch: z.string().max(10_000),
  held: z.boolean(),
  leasesSince: count,
  leases: z.array(count),
  writes: z.array(count),
  digestWrites: z.array(count),
  redis,
});

/** Null: it does not tell all that it was asked. */
export function parseEvidence(value: unknown, { repositories, digests }: EvidenceQuestion): Evidence | null {
  const { data } = evidence.safeParse(value);
  const isWhole =
    data?.leases.length === digests.length &&
    data.digestWrites.length === digests.length &&
    data.writes.length === repositories.length;
  return isWhole ? data : null;
}

/** Null: it is nothing that this version can do. */
export function parseDoorAsk(message: ChannelMessage): DoorAsk | null {
  return doorAsk.safeParse(message).data ?? null;
}
