import { setImmediate as turn } from 'node:timers/promises';
import { writtenOf } from '../cache/cacheable.ts';
import type { CacheStore } from '../cache/stores/store.ts';
import type {
  DeleteAnswer,
  DeleteWish,
  DoorRequest,
  DoorResponse,
  EvidenceQuestion,
  PauseAnswer,
  TagAnswer,
  TagWish,
} from '../clean/channel/messages.ts';
import type { InventoryAnswers, InventoryRead } from '../inventory/reading/registry-reader.ts';
import type { Evidence } from '../leases/leases.ts';
import { untracedKey } from '../registry/write-counts.ts';
import { parseOperation } from '../registry/operation.ts';
import { parseTarget } from '../registry/target.ts';
import { buildFetchHeaders } from '../upstream/request.ts';
import type { Service } from './service.ts';
import type { Shared } from './shared.ts';

/** What the clean-up, or the inventory, has a serving process do. */
export type CleanTask =
  /** Ends the cached answers of repositories, in all processes; cached ones begin with the end of the same id. */
  | { readonly kind: 'begin-write'; readonly id: string; readonly repositories: readonly string[] }
  | { readonly kind: 'end-write'; readonly id: string; readonly repositories: readonly string[] }
  | ({ readonly kind: 'evidence' } & EvidenceQuestion)
  /** The sender holds the lock of the repository. */
  | ({ readonly kind: 'delete' } & DeleteWish)
  | ({ readonly kind: 'remove-tag' } & TagWish)
  | ({ readonly kind: 'request' } & DoorRequest)
  | { readonly kind: 'taken'; readonly digests: readonly string[]; readonly isAll: boolean }
  | { readonly kind: 'pause'; readonly maxPauseMs: number }
  | { readonly kind: 'resume' }
  /** No cleaner runs: see WritePause. */
  | { readonly kind: 'end-start' }
  | { readonly kind: 'read-inventory'; readonly read: InventoryRead };

export type CleanResults = {
  /** Whether all know of it. */
  'begin-write': boolean;
  'end-write': boolean;
  /** Null: nothing is cleaned up. */
  evidence: Evidence | null;
  delete: DeleteAnswer;
  'remove-tag': TagAnswer;
  request: DoorResponse;
  taken: null;
  pause: PauseAnswer;
  resume: null;
  'end-start': null;
  'read-inventory': InventoryAnswers[InventoryRead['read']];
};

/** Does a task. Aborting the signal ends it: then what it asked of the registry may have been done or not. */
export type PerformCleanTask = <Kind extends CleanTask['kind']>(
  task: Extract<CleanTask, { kind: Kind }>,
  signal: AbortSignal,
) => Promise<CleanResults[Kind]>;

/** Small, as an answer to a delete is. */
const maxAnswerBytes = 64 * 1024;
const noOpenPaths: ReadonlySet<string> = new Set();

/** @param current what serves now */
export function createCleanWorker(
  { store, writePause, usage }: Pick<Shared, 'store' | 'writePause' | 'usage'>,
  current: () => Service,
): PerformCleanTask {
  /** Has the inventory look again, whatever became of the task. */
  const noteChange = <Result>(repositories: readonly string[], task: Promise<Result>): Promise<Result> =>
    task.finally(() => usage?.changed(repositories));
  const changeCache = async (
    phase: 'beginWrite' | 'endWrite',
    { id, repositories }: { readonly id: string; readonly repositories: readonly string[] },
  ): Promise<boolean> => {
    if (store === null) return true;
    const known = await Promise.all(
      repositories.map((repository, i) =>
        store[phase]({ id: `${id}/${i}`, scope: scopeOf(repository), items: 'all' }),
      ),
    );
    return known.every(Boolean);
  };

  const perform = (task: CleanTask, signal: AbortSignal): Promise<CleanResults[CleanTask['kind']]> => {
    switch (task.kind) {
      case 'begin-write':
        return changeCache('beginWrite', task);
      case 'end-write':
        return noteChange(task.repositories, changeCache('endWrite', task));
      case 'evidence':
        return tellEvidence(store, current(), task);
      case 'delete':
        return noteChange([task.repository], deleteAtRegistry(current(), task, signal));
      case 'remove-tag':
        return noteChange([task.repository], current().removeTag(task));
      case 'request':
        return sendRequest(store, current(), task, signal);
      case 'taken':
        current().inUse?.taken.add(task.digests, task.isAll);
        return Promise.resolve(null);
      case 'pause':
        return Promise.resolve({ quiet: writePause.pause(task.maxPauseMs) });
      case 'resume':
        writePause.resume();
        return Promise.resolve(null);
      case 'end-start':
        writePause.endStart();
        return Promise.resolve(null);
      case 'read-inventory':
        return current().readInventory(task.read, signal);
    }
  };
  return perform as PerformCleanTask;
}

function scopeOf(repository: string): string {
  return `v2:${repository}`;
}

async function tellEvidence(
  store: CacheStore | null,
  { inUse }: Service,
  { repositories, digests }: EvidenceQuestion,
): Promise<Evidence | null> {
  // Whoever found a stored answer before its repository was locked is still to be told it. The store answers in order.
  if (store !== null)
    await Promise.all(
      repositories.map((repository) =>
        store.lookup({ scope: scopeOf(repository), item: '', variant: '' }, 0),
      ),
    );
  await turn();
  return inUse?.leases.read({ repositories, digests }) ?? null;
}

async function deleteAtRegistry(
  { upstream }: Service,
  { repository, what, digest }: DeleteWish,
  signal: AbortSignal,
): Promise<DeleteAnswer> {
  const rawTarget = `/v2/${repository}/${what}s/${digest}`;
  const operation = parseOperation('DELETE', parseTarget(rawTarget), noOpenPaths);
  const isMeant =
    operation.kind === what && operation.repository === repository && operation.digest === digest;
  if (!isMeant) throw new Error(`${rawTarget} names no ${what} by digest`);
  const headers = buildFetchHeaders({ host: null, accept: [] }, upstream.authorization);
  try {
    const answer = await upstream.requestUpstream(
      { method: 'DELETE', rawTarget, headers },
      { maxBytes: maxAnswerBytes, signal },
    );
    return { status: answer?.status ?? null };
  } catch {
    return { status: null };
  }
}

async function sendRequest(
  store: CacheStore | null,
  { upstream, inUse }: Service,
  { method, rawTarget, headers, bodyBase64, maxBytes }: DoorRequest,
  signal: AbortSignal,
): Promise<DoorResponse> {
  const operation = parseOperation(method, parseTarget(rawTarget), noOpenPaths);
  const written = writtenOf(operation);
  const change = written && { ...written, id: `${process.pid}/${performance.now()}` };
  const repository =
    'repository' in operation && method !== 'GET' && method !== 'HEAD' ? operation.repository : null;
  const note = () => {
    if (repository === null) return;
    inUse?.leases.noteWrite(repository);
    inUse?.leases.noteWrite(untracedKey(repository));
  };
  if (change) await store?.beginWrite(change);
  note();
  try {
    const answer = await upstream.requestUpstream(
      {
        ...{ method, rawTarget },
        headers: { ...buildFetchHeaders({ host: null, accept: [] }, upstream.authorization), ...headers },
        ...(bodyBase64 === undefined ? {} : { body: Buffer.from(bodyBase64, 'base64') }),
      },
      { maxBytes, signal },
    );
    if (answer === null) throw new Error(`the registry's answer has more than ${maxBytes} bytes`);
    const { status, rawHeaders, body } = answer;
    return { status, rawHeaders, bodyBase64: body.toString('base64') };
  } finally {
    note();
    if (change) await store?.endWrite(change);
  }
}
