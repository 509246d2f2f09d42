import { inventoryChangesOf } from '../inventory/inventory-change.ts';
import type { Operation } from '../registry/operation.ts';
import { principalText, type Principal } from '../registry/principal.ts';
import { createFamilyReader } from './client-family.ts';
import { addAddress, createUsageBuffer, type UsageBuffer, type UsageSink } from './usage-buffer.ts';

/** The facts of an answered request that the record is about. */
export type UsedExchange = {
  readonly method: string;
  readonly operation: Operation | null;
  readonly routeKind: string | null;
  readonly principal: Principal;
  readonly userAgent: string;
  readonly clientAddress: string;
  /** The digest of the manifest that was pulled or pushed, as upstream names it; null: it names none. */
  readonly manifestDigest: string | null;
  readonly res: { readonly statusCode: number; readonly writableFinished: boolean };
};

/** Notes what was pulled and pushed, and by whom, behind the requests' back. */
export type UsageNotes = {
  /** Call it once for each request, when it is over. Costs next to nothing; it writes nothing itself. */
  finished(exchange: UsedExchange): void;
  /** Notes that something else may have changed what is in these repositories. */
  changed(repositories: readonly string[]): void;
  /** Sends on what is noted. */
  close(): Promise<void>;
};

const sendEveryMs = 2000;
/** What a process notes between two batches, and how much of that is sent at once. */
const limits = { maxEntries: 10_000, maxBytes: 8 * 1024 * 1024 };
const batchEntries = 1000;
/** Longer names of principals are cut; only those of CI jobs can be so long. */
const maxNameLength = 256;

/** @param options now: milliseconds since the epoch */
export function createUsageNotes({ sink, now }: { sink: UsageSink; now: () => number }): UsageNotes {
  const buffer = createUsageBuffer(limits);
  const readFamily = createFamilyReader();
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;

  /** One batch after the other: a sink that is slow lets uses add up here, and at last be dropped. */
  const sendAll = async (): Promise<void> => {
    for (let batch = buffer.take(batchEntries); batch !== null; batch = buffer.take(batchEntries)) {
      try {
        await sink.add(batch);
      } catch {
        buffer.addBatch(batch);
        return;
      }
    }
  };
  const schedule = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      sending = (sending ?? Promise.resolve()).then(sendAll);
    }, sendEveryMs).unref();
  };

  const noteChanges = ({ operation, principal, res }: UsedExchange): void => {
    if (operation === null) return;
    const { writableFinished: isWhole, statusCode: status } = res;
    const answer = { isWhole, status, by: nameOf(principal), atMs: now() };
    const changes = inventoryChangesOf(operation, answer);
    for (const change of changes) buffer.change(change);
    if (changes.length > 0) schedule();
  };

  return {
    finished: (exchange) => {
      const { res, method, operation, principal } = exchange;
      if (method === 'PUT' || method === 'DELETE') noteChanges(exchange);
      if (res.statusCode < 200 || res.statusCode > 299 || !res.writableFinished) return;
      const isUse = operation?.kind === 'manifest' && (method === 'GET' || method === 'PUT');
      if (isUse) noteManifest(buffer, exchange, operation, now());
      const isLogin = !isUse && isLoginRequest(exchange);
      if (!isUse && !isLogin) return;
      if (principal.kind === 'user') {
        const use = buffer.user(principal.name, readFamily(exchange.userAgent));
        if (use !== null) {
          if (isLogin) use.logins += 1;
          addAddress(use, exchange.clientAddress);
        }
      }
      schedule();
    },
    changed: (repositories) => {
      for (const repository of repositories)
        buffer.change({ repository, reference: null, what: 'unknown', by: null, atMs: now() });
      schedule();
    },
    close: async () => {
      clearTimeout(timer);
      await sending;
      await sendAll();
    },
  };
}

/** Notes a GET or PUT of a manifest. */
function noteManifest(
  buffer: UsageBuffer,
  { method, principal, manifestDigest }: UsedExchange,
  { repository, reference, digest }: Extract<Operation, { kind: 'manifest' }>,
  nowMs: number,
): void {
  const use = buffer.manifest(repository, reference, digest ?? manifestDigest);
  if (use === null) return;
  const by = nameOf(principal);
  if (method === 'GET') {
    use.pulls += 1;
    use.pulledMs = nowMs;
    use.pulledBy = by;
  } else {
    use.pushes += 1;
    use.pushedMs = nowMs;
    use.pushedBy = by;
  }
}

/** What `docker login`, and every client that asks for a token, sends: both where tokens are used. */
function isLoginRequest({ operation, routeKind, method }: UsedExchange): boolean {
  return routeKind === 'token' || (operation?.kind === 'version-check' && method === 'GET');
}

/** The text of a principal; a user whose name is "anonymous" is told apart. */
function nameOf(principal: Principal): string {
  const text = principalText(principal);
  if (text === null) return 'anonymous';
  return text === 'anonymous' ? 'user:anonymous' : text.slice(0, maxNameLength);
}
