import { changeOf } from '../registry/change.ts';
import type { Operation } from '../registry/operation.ts';

/** A write that may have changed which tags there are, beside the pushes that the record of usage counts. */
export type InventoryChange = {
  readonly repository: string;
  /** The tag, or the digest whose tags it is about; null: whatever is in the repository. */
  readonly reference: string | null;
  /** `deleted`: it is gone. `unknown`: the registry has to be asked. */
  readonly what: 'pushed' | 'deleted' | 'unknown';
  /** Who pushed it, and when; in milliseconds since the epoch. */
  readonly by: string | null;
  readonly atMs: number;
};

/** What a PUT or DELETE changed, by its answer: without a status of success or refusal it may have been done or not. */
export function inventoryChangesOf(
  operation: Operation,
  { isWhole, status, by, atMs }: { isWhole: boolean; status: number; by: string | null; atMs: number },
): InventoryChange[] {
  if (status >= 400 && status < 500 && isWhole) return [];
  const change = changeOf(operation);
  if (change === null || change.object === 'blob') return [];
  const { repository, tag, digest, furtherTags, action, isV1 } = change;
  const isDone = isWhole && status >= 200 && status < 300 && !isV1;
  const of = (reference: string | null, what: InventoryChange['what']): InventoryChange => ({
    ...{ repository, reference, what, atMs },
    by: what === 'pushed' ? by : null,
  });
  if (action === 'delete') return [of(isV1 ? null : (tag ?? digest), isDone ? 'deleted' : 'unknown')];
  if (isV1) return [of(null, 'unknown')];
  // A push of its tag alone is in the record of usage.
  const tags = tag === null ? furtherTags : isDone ? [] : [tag];
  return tags.map((each) => of(each, isDone ? 'pushed' : 'unknown'));
}
