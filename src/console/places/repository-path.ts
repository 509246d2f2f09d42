import { digestForm } from '../../registry/names/digest.ts';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';

/** A page about a repository. */
export type RepositoryPath = { readonly repository: string } & (
  | { readonly kind: 'tags' | 'compare' | 'delete' }
  | { readonly kind: 'image' | 'raw'; readonly reference: string }
);

/** What stands between a repository's name and what is asked about it: `-` is no part of a name. */
const separator = '/-/';

/** Reads what follows `/ui/r/`, decoded; null: there is no such page. */
export function parseRepositoryPath(text: string): RepositoryPath | null {
  const at = text.indexOf(separator);
  const repository = at === -1 ? text : text.slice(0, at);
  if (!isRepositoryName(repository)) return null;
  if (at === -1) return { repository, kind: 'tags' };
  const [kind = '', reference, ...more] = text.slice(at + separator.length).split('/');
  if (more.length > 0) return null;
  if (reference === undefined) return kind === 'compare' || kind === 'delete' ? { repository, kind } : null;
  if (!tagForm.test(reference) && !digestForm.test(reference)) return null;
  if (kind === 'i') return { repository, kind: 'image', reference };
  return kind === 'raw' ? { repository, kind, reference } : null;
}
