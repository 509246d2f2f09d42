import { digestForm } from '../registry/names/digest.ts';
import { isRepositoryName } from '../registry/names/repository-name.ts';
import { tagForm } from '../registry/names/tag.ts';
import type { Finding } from './findings.ts';
import type { InventoryChange } from './inventory-change.ts';
import type { InventoryRows } from './inventory-rows.ts';
import { afterFailureMs, due, lately, nextListMs, nextReadMs } from './due-times.ts';

/** Pulls and pushes of one reference, as the record of usage has them; times in milliseconds since the epoch. */
export type ReferenceUse = {
  readonly repository: string;
  readonly reference: string;
  readonly digest: string | null;
  readonly pushes: number;
  readonly pushedMs: number | null;
  readonly pushedBy: string | null;
  readonly pulledMs: number | null;
};

/** Writes what happened, and what was found, into the rows. Call it within a transaction. */
export type InventoryWriter = {
  use(use: ReferenceUse, nowMs: number): void;
  change(change: InventoryChange, nowMs: number): void;
  find(finding: Finding, nowMs: number): void;
  /** Sums up the repositories in which something changed, and returns their names. */
  finish(): ReadonlySet<string>;
  /** Forgets what was not finished: the transaction was undone. */
  forget(): void;
};

const setPushed = `SET pushed_by = CASE WHEN ?1 >= coalesce(pushed, 0) THEN ?2 ELSE pushed_by END,
  pushed = max(coalesce(pushed, 0), ?1)`;
const sql = {
  repositoryPushed: `UPDATE repositories ${setPushed} WHERE id = ?3`,
  repositoryPulled: 'UPDATE repositories SET pulled = max(coalesce(pulled, 0), ?) WHERE id = ?',
  repositoryDue: 'UPDATE repositories SET due = ? WHERE id = ?',
  repositoryListed: 'UPDATE repositories SET listed = ?, due = ? WHERE id = ?',
  tagPushed: `UPDATE tags ${setPushed} WHERE repository = ?3 AND name = ?4`,
  tagPulled: 'UPDATE tags SET pulled = max(coalesce(pulled, 0), ?) WHERE repository = ? AND name = ?',
  tagDue: 'UPDATE tags SET due = ? WHERE repository = ? AND name = ?',
  tagMoved: `UPDATE tags SET digest = ?, bytes = NULL, kind = NULL, platforms = NULL, seen = ?, due = ?
    WHERE repository = ? AND name = ?`,
  tagRead: `UPDATE tags SET digest = ?, bytes = ?, kind = ?, platforms = ?, due = ?
    WHERE repository = ? AND name = ?`,
  walked: 'UPDATE inventory SET walk_due = ?, walked = coalesce(?, walked)',
} as const;

export function createInventoryWriter(rows: InventoryRows): InventoryWriter {
  /** Names of repositories whose rows changed, and ids of those whose tags did. */
  const touched = new Set<string>();
  const unsummed = new Set<number>();
  const touch = (name: string, id: number) => {
    touched.add(name);
    unsummed.add(id);
  };

  const forget = () => {
    touched.clear();
    unsummed.clear();
  };

  const tagOf = (repository: string, tag: string, nowMs: number): { id: number; isThere: boolean } | null => {
    const id = rows.repository(repository, nowMs);
    if (id === null) return null;
    touch(repository, id);
    return { id, isThere: rows.tag({ id, name: repository }, tag, nowMs) };
  };
  const notePush = (repository: string, tag: string, digest: string | null, nowMs: number): number | null => {
    const { id, isThere } = tagOf(repository, tag, nowMs) ?? { id: null, isThere: false };
    if (id === null || !isThere) return id;
    const known = rows.findTag(id, tag);
    if (digest === null || known?.digest === digest) rows.run(sql.tagDue, [due.now, id, tag]);
    else rows.run(sql.tagMoved, [digest, nowMs, due.now, id, tag]);
    return id;
  };
  /** A tag that is new, or leads elsewhere: others moved it, or the news of another worker is still to come. */
  const notePull = (
    { id, repository }: { id: number; repository: string },
    tag: string,
    digest: string | null,
    nowMs: number,
  ): void => {
    const known = rows.findTag(id, tag);
    if (known === null) notePush(repository, tag, digest, nowMs);
    else if (digest !== null && known.digest !== digest) rows.run(sql.tagDue, [due.now, id, tag]);
  };
  const dropRepository = (name: string, id: number) => {
    rows.removeRepository(id);
    unsummed.delete(id);
    touched.add(name);
  };

  const use: InventoryWriter['use'] = (each, nowMs) => {
    const { repository, reference, digest, pushes, pushedMs, pushedBy, pulledMs } = each;
    if (!isRepositoryName(repository)) return;
    const isTag = tagForm.test(reference);
    const id = rows.repository(repository, nowMs);
    if (id === null) return;
    touched.add(repository);
    if (isTag && pushes > 0) notePush(repository, reference, digest, nowMs);
    else if (isTag) notePull({ id, repository }, reference, digest, nowMs);
    if (pushedMs !== null) rows.run(sql.repositoryPushed, [pushedMs, pushedBy, id]);
    if (pulledMs !== null) rows.run(sql.repositoryPulled, [pulledMs, id]);
    if (!isTag) return;
    if (pushedMs !== null) rows.run(sql.tagPushed, [pushedMs, pushedBy, id, reference]);
    if (pulledMs !== null) rows.run(sql.tagPulled, [pulledMs, id, reference]);
  };

  const change: InventoryWriter['change'] = ({ repository, reference, what, by, atMs }, nowMs) => {
    if (!isRepositoryName(repository)) return;
    const isTag = reference !== null && tagForm.test(reference);
    const isDigest = reference !== null && digestForm.test(reference);
    if (isTag && what !== 'deleted') {
      const id = notePush(repository, reference, null, nowMs);
      if (id !== null && what === 'pushed') {
        rows.run(sql.tagPushed, [atMs, by, id, reference]);
        rows.run(sql.repositoryPushed, [atMs, by, id]);
      }
      return;
    }
    const id = rows.findRepository(repository);
    if (id === null) return;
    touch(repository, id);
    // What was pushed later stays: news of several workers come in any order.
    const isGone = `repository = ? AND ${isTag ? 'name' : 'digest'} = ? AND coalesce(pushed, 0) <= ?`;
    if (what === 'deleted' && (isTag || isDigest)) rows.removeTags(isGone, [id, reference, atMs]);
    rows.run(sql.repositoryDue, [due.now, id]);
  };

  const find: InventoryWriter['find'] = (finding, nowMs) => {
    switch (finding.found) {
      case 'repositories':
        for (const name of finding.names) {
          const id = rows.repository(name, nowMs, due.soon);
          if (id !== null) touch(name, id);
        }
        return;
      case 'end-of-catalogs':
        if (finding.isComplete) rows.run(sql.walked, [nextListMs(nowMs), nowMs]);
        else rows.run(sql.walked, [nowMs + afterFailureMs, null]);
        return;
      case 'manifest':
        readManifest(finding, nowMs);
        return;
      default:
        findInRepository(finding, nowMs);
    }
  };
  const findInRepository = (
    finding: Exclude<Finding, { found: 'repositories' | 'end-of-catalogs' | 'manifest' }>,
    nowMs: number,
  ): void => {
    const { repository } = finding;
    const id = rows.findRepository(repository);
    if (id === null) return;
    touch(repository, id);
    switch (finding.found) {
      case 'tags':
        for (const tag of finding.names) rows.tag({ id, name: repository }, tag, nowMs, due.soon);
        return;
      case 'end-of-tags':
        if (finding.isComplete) rows.removeTags('repository = ? AND seen < ?', [id, finding.askedMs]);
        rows.run(sql.repositoryListed, [nowMs, nextListMs(nowMs), id]);
        return;
      case 'no-repository':
        // One that was pushed to, or pulled from, meanwhile is asked about again.
        if (rows.seenRepository(id) < finding.askedMs) dropRepository(repository, id);
        return;
      case 'no-manifest':
        rows.removeTags('repository = ? AND name = ? AND seen < ?', [id, finding.tag, finding.askedMs]);
        return;
      case 'nothing':
        if (finding.tag === null) rows.run(sql.repositoryDue, [nowMs + afterFailureMs, id]);
        else rows.run(sql.tagDue, [nowMs + afterFailureMs, id, finding.tag]);
    }
  };
  const readManifest = (
    { repository, tag, digest, summary, askedMs }: Extract<Finding, { found: 'manifest' }>,
    nowMs: number,
  ): void => {
    const id = rows.findRepository(repository);
    const known = id === null ? null : rows.findTag(id, tag);
    if (id === null || known === null) return;
    // It was pushed, or listed, meanwhile: the next answer is newer than this one.
    if (known.seen >= askedMs) return;
    touch(repository, id);
    const isMoving =
      (known.digest !== null && known.digest !== digest) || (known.pushed ?? 0) > lately(nowMs);
    const next = nextReadMs(nowMs, { isMoving });
    if (summary === null) rows.run(sql.tagDue, [next, id, tag]);
    else {
      const { bytes, kind, platforms } = summary;
      rows.run(sql.tagRead, [digest, bytes, kind, platforms.join(' '), next, id, tag]);
    }
  };

  return {
    use,
    change,
    find,
    finish: () => {
      for (const id of unsummed) rows.sum(id);
      const names = new Set(touched);
      forget();
      return names;
    },
    forget,
  };
}
