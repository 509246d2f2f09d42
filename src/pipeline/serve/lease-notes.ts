import type { Leases } from '../../leases/leases.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import type { Operation } from '../../registry/operation.ts';
import { readContentDigest } from './content-digest.ts';

type Notes = Pick<Leases, 'note'>;

/** Notes what a push relies on from its head on: a registry need not write what it has already. */
export function noteHead(leases: Notes, operation: Operation): void {
  if (operation.kind === 'upload-start' || operation.kind === 'upload-session')
    for (const digest of namedBy(operation) ?? []) leases.note(digest);
}

/**
 * Notes what upstream's answer tells the client is there.
 * @param asked the fields of the request: docker-registry's 304 does not name what it is about
 */
export function noteAnswer(
  leases: Notes,
  operation: Operation,
  { status, rawHeaders }: { readonly status: number; readonly rawHeaders: RawHeaders },
  asked: RawHeaders,
): void {
  if (status >= 400 || operation.method === 'DELETE') return;
  const named = namedBy(operation);
  if (named === null) return;
  for (const digest of named) leases.note(digest);
  const told = readContentDigest(rawHeaders);
  if (told !== null && !named.includes(told)) leases.note(told);
  if (status === 304)
    for (const value of headerValues(asked, 'if-none-match'))
      for (const [digest] of value.matchAll(sha256Form)) leases.note(digest);
}

const sha256Form = /sha256:[0-9a-f]{64}/g;

/** The digests in the request; null: it is about no content. */
function namedBy(operation: Operation): readonly string[] | null {
  switch (operation.kind) {
    case 'manifest':
    case 'blob':
      return operation.digest === null ? [] : [operation.digest];
    case 'upload-session':
      return operation.digests;
    case 'upload-start':
      return [...operation.mounted, ...operation.digests];
    default:
      return null;
  }
}
