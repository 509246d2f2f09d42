import { digestForm, maxDigestLength } from './digest.ts';
import { OciError } from '../error.ts';
import { isRepositoryName, maxRepositoryNameLength } from './repository-name.ts';
import { tagForm } from './tag.ts';

/** The name in a path that breaks the grammar of its kind: no registry has anything under it. */
export type NameFault = 'repository' | 'reference' | 'tag' | 'digest' | 'image';

/** The first registry took more than the distribution-spec does, and never more than this. */
const v1RepositoryForm = /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)?$/;
const v1TagForm = /^[A-Za-z0-9._-]{1,128}$/;
const v1ImageForm = /^[A-Za-z0-9._-]{1,128}$/;

/** The names in a path below `/v2/`; undefined where it has none of that kind. */
type V2Names = {
  readonly repository: string;
  readonly reference: string | undefined;
  /** Of a blob, or of what others refer to. */
  readonly digest: string | undefined;
};

/**
 * Finds the name that is none in a decoded path; null where all are names. What has passed is bounded: nothing longer is ever a
 * key of cache, Redis, locks or audit, nor asked of upstream.
 */
export function findV2Fault({ repository, reference, digest }: V2Names): NameFault | null {
  if (!isRepositoryName(repository)) return 'repository';
  if (reference !== undefined)
    return tagForm.test(reference) || digestForm.test(reference) ? null : 'reference';
  // What is short and no digest is nothing here: it goes on as any path that nobody knows, to upstream's 404 or 400.
  return (digest ?? '').length > maxDigestLength ? 'digest' : null;
}

/** The same for a path of the first protocol. */
export function findV1Fault(
  names: { readonly image: string } | { readonly repository: string; readonly tag?: string },
): NameFault | null {
  if ('image' in names) return v1ImageForm.test(names.image) ? null : 'image';
  const { repository, tag } = names;
  if (repository.length > maxRepositoryNameLength || !v1RepositoryForm.test(repository)) return 'repository';
  return tag === undefined || v1TagForm.test(tag) ? null : 'tag';
}

/** The answer to a path with such a name: the codes of the distribution-spec, "Error Codes". */
export function nameFaultError(fault: NameFault, method: string): OciError {
  switch (fault) {
    case 'repository':
      return new OciError(
        'NAME_INVALID',
        `This is not a repository's name: up to ${maxRepositoryNameLength} lower-case letters, digits, ".", "_" and "-" in parts that "/" separates.`,
      );
    case 'reference':
      // Whoever looks for it learns that it is not there (the spec's conformance tests ask for that); registries say the same.
      return method === 'GET' || method === 'HEAD'
        ? new OciError('MANIFEST_UNKNOWN', 'There is no such manifest: this is neither a tag nor a digest.')
        : new OciError(
            'TAG_INVALID',
            'This is neither a tag (up to 128 letters, digits, ".", "_", "-") nor a digest.',
          );
    case 'tag':
      return new OciError('TAG_INVALID', 'This is not a tag: up to 128 letters, digits, ".", "_" and "-".');
    case 'digest':
      return new OciError('DIGEST_INVALID', 'This is not a digest: it is too long.');
    case 'image':
      return new OciError(
        'NAME_INVALID',
        'This is not an image\'s id: up to 128 letters, digits, ".", "_" and "-".',
      );
  }
}
