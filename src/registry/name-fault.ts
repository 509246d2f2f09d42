import { digestForm, maxDigestLength } from './digest.ts';
import { OciError } from './error.ts';
import { isRepositoryName, maxRepositoryNameLength } from './repository-name.ts';
import { tagForm } from './tag.ts';

/** The name in a path that breaks the grammar of its kind: no registry has anything under it. */
export type NameFault = 'repository' | 'reference' | 'tag' | 'digest' | 'image';

/**
 * Every path of the distribution-spec that names a repository. Greedy, as in route.ts. With `s`, since "." would leave out
 * U+2028 and U+2029.
 */
const v2Path =
  /^\/v2\/(?<repository>.+)\/(?:manifests\/(?<reference>[^/]+)|blobs\/uploads\/[^/]*|blobs\/(?<digest>[^/]+)|tags\/list|referrers\/(?<subject>[^/]+))$/s;

/** Every path of the first protocol that names a repository; as little as it can for the name, as in cache/cacheable.ts. */
const v1Repository =
  /^\/v1\/repositories\/(?<repository>[^/]+(?:\/[^/]+)??)(?:\/(?:tags(?:\/(?<tag>[^/]+)(?:\/.*)?)?|(?:images|auth|properties|json)?(?:\/.*)?))?$/s;
const v1Image = /^\/v1\/(?:private_)?images\/(?<image>[^/]+)\//;
/** The first registry took more than the distribution-spec does, and never more than this. */
const v1RepositoryForm = /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)?$/;
const v1TagForm = /^[A-Za-z0-9._-]{1,128}$/;
const v1ImageForm = /^[A-Za-z0-9._-]{1,128}$/;

/**
 * Finds the name that is none in a decoded path; null where all are names, or the path names nothing. What has passed is bounded:
 * nothing longer is ever a key of cache, Redis, locks or audit, nor asked of upstream.
 */
export function findNameFault(path: string): NameFault | null {
  return path.startsWith('/v1/') ? findV1Fault(path) : findV2Fault(path);
}

function findV2Fault(path: string): NameFault | null {
  const found = v2Path.exec(path)?.groups;
  if (found === undefined) return null;
  const { repository = '', reference, digest, subject } = found;
  if (!isRepositoryName(repository)) return 'repository';
  if (reference !== undefined)
    return tagForm.test(reference) || digestForm.test(reference) ? null : 'reference';
  // What is short and no digest is nothing here: it goes on as any path that nobody knows, to upstream's 404 or 400.
  return (digest ?? subject ?? '').length > maxDigestLength ? 'digest' : null;
}

function findV1Fault(path: string): NameFault | null {
  const image = v1Image.exec(path)?.groups?.['image'];
  if (image !== undefined) return v1ImageForm.test(image) ? null : 'image';
  const found = v1Repository.exec(path)?.groups;
  if (found === undefined) return null;
  const { repository = '', tag } = found;
  if (repository.length > maxRepositoryNameLength || !v1RepositoryForm.test(repository)) return 'repository';
  return tag === undefined || v1TagForm.test(tag) ? null : 'tag';
}

/** The answer to a path with such a name: the codes of the distribution-spec, "Error Codes". */
export function nameFaultError(fault: NameFault, method: string): OciError {
  switch (fault) {
    case 'repository':
      return new OciError(
        'NAME_INVALID',
        `This is no repository's name: up to ${maxRepositoryNameLength} lower-case letters, digits, ".", "_" and "-" in parts that "/" separates.`,
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
      return new OciError('TAG_INVALID', 'This is no tag: up to 128 letters, digits, ".", "_" and "-".');
    case 'digest':
      return new OciError('DIGEST_INVALID', 'This is no digest: it is too long.');
    case 'image':
      return new OciError(
        'NAME_INVALID',
        'This is no image\'s id: up to 128 letters, digits, ".", "_" and "-".',
      );
  }
}
