import { digestForm, maxDigestLength } from './digest.ts';
import { OciError } from '../error.ts';
import { isRepositoryName, maxRepositoryNameLength } from './repository-name.ts';
import { tagForm } from './tag.ts';

/** The kind of the name in a path that breaks its grammar: no registry has anything under it. */
export type NameFault = 'repository' | 'reference' | 'tag' | 'digest' | 'image';

/** The v1 registry allowed more than the distribution-spec does, but never more than this. */
const v1RepositoryForm = /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)?$/;
const v1TagForm = /^[A-Za-z0-9._-]{1,128}$/;
const v1ImageForm = /^[A-Za-z0-9._-]{1,128}$/;

/** The names in a path below `/v2/`; undefined where it has none of that kind. */
type V2Names = {
  readonly repository: string;
  readonly reference: string | undefined;
  /** The digest of a blob, or of a subject. */
  readonly digest: string | undefined;
};

/**
 * Finds the invalid name in a decoded path; null where all are valid. So names are bounded: nothing longer becomes a
 * key of cache, Redis, locks or audit, or is requested from upstream.
 */
export function findV2Fault({ repository, reference, digest }: V2Names): NameFault | null {
  if (!isRepositoryName(repository)) return 'repository';
  if (reference !== undefined)
    return tagForm.test(reference) || digestForm.test(reference) ? null : 'reference';
  // A short text that is no digest is forwarded like any unknown path, and gets upstream's 404 or 400.
  return (digest ?? '').length > maxDigestLength ? 'digest' : null;
}

/** The same for a v1 path. */
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
      // A read gets "not found", as the spec's conformance tests demand and registries answer.
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
