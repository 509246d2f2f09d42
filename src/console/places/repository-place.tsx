import type { RepositoryLists } from '../../inventory/repository-lists.ts';
import type { Policy } from '../../policy/decision.ts';
import { digestForm } from '../../registry/names/digest.ts';
import { deleteReference, maxTagsAtOnce, readImageDeletion, readTagDeletion } from '../changes/deletion.ts';
import { links, withQuery } from '../components/links.ts';
import type { ConsoleAnswer } from '../console-answer.ts';
import { ConsoleError } from '../console-error.ts';
import { ComparePage } from '../pages/compare-page.tsx';
import { DeletePage } from '../pages/delete-page.tsx';
import { ImagePage } from '../pages/image-page.tsx';
import { RawPage } from '../pages/raw-page.tsx';
import { RepositoryPage } from '../pages/repository-page.tsx';
import { readRawManifest } from '../registry/image/raw-manifest.ts';
import { readComparison } from '../registry/image/read-comparison.ts';
import { readImage } from '../registry/image/read-image.ts';
import { readDigestOf } from '../registry/image/read-manifest.ts';
import { readTagNames, searchTags } from '../registry/tag-names.ts';
import { readRepositoryPage } from '../registry/tag-rows.ts';
import { openTagRecord, type TagRecord } from '../registry/tag-record.ts';
import type { FormVisit, Place, Visit } from '../visit.ts';
import type { ChromeOf } from './chrome-of.ts';
import { parseRepositoryPath } from './repository-path.ts';

export type RepositoryPlaceOptions = {
  readonly chromeOf: ChromeOf;
  readonly policy: Pick<Policy, 'decide'>;
  /** Null: there is no record. */
  readonly lists: Pick<RepositoryLists, 'tags'> | null;
  readonly isCleaned: boolean;
};

const maxSearchLength = 128;
const maxChoices = 200;
/** Longer ones are none, and are not written back whole. */
const maxReferenceLength = 255;

/** The pages about one repository: its tags, an image, two compared, and the delete. */
export function createRepositoryPlace(options: RepositoryPlaceOptions): Place {
  return {
    pattern: /^r\//,
    get: (visit) => {
      const at = parseRepositoryPath(visit.page.slice(2));
      if (at === null) throw new ConsoleError('notFound');
      switch (at.kind) {
        case 'tags':
          return showTags(visit, at.repository, options);
        case 'image':
          return showImage(visit, at.repository, at.reference, options);
        case 'raw':
          return showRaw(visit, at.repository, at.reference, options);
        case 'compare':
          return showComparison(visit, at.repository, options);
        case 'delete':
          return askBeforeDelete(visit, at.repository, options);
      }
    },
    post: (visit) => {
      const at = parseRepositoryPath(visit.page.slice(2));
      if (at?.kind !== 'delete') throw new ConsoleError(at === null ? 'notFound' : 'notAllowed');
      return deleteThem(visit, at.repository);
    },
  };
}

function mayDelete(
  { authentication }: Visit,
  repository: string,
  { policy }: RepositoryPlaceOptions,
): boolean {
  return authentication !== null && policy.decide(authentication.principal, repository).actions.has('delete');
}

/** What is known of tags besides, for this visitor. */
function recordFor({ authentication }: Visit, { lists }: RepositoryPlaceOptions): TagRecord | null {
  return authentication && lists && openTagRecord(lists, authentication.principal);
}

async function showTags(
  visit: Visit,
  repository: string,
  options: RepositoryPlaceOptions,
): Promise<ConsoleAnswer> {
  const { query, registry } = visit;
  const search = (query.get('q') ?? '').slice(0, maxSearchLength);
  const page = Number(query.get('page') ?? 1);
  const asked = { repository, search, page: Number.isSafeInteger(page) ? page : 1 };
  const model = await readRepositoryPage(registry, recordFor(visit, options), asked);
  if (model === null) throw new ConsoleError('notFound');
  return {
    page: (
      <RepositoryPage
        chrome={options.chromeOf(visit)}
        model={model}
        mayDelete={mayDelete(visit, repository, options)}
      />
    ),
  };
}

async function showImage(
  visit: Visit,
  repository: string,
  reference: string,
  options: RepositoryPlaceOptions,
): Promise<ConsoleAnswer> {
  const platform = visit.query.get('platform');
  const model = await readImage(visit.registry, recordFor(visit, options), {
    repository,
    reference,
    platform,
  });
  if (model === null) throw new ConsoleError('notFound');
  const chrome = options.chromeOf(visit);
  return {
    page: <ImagePage chrome={chrome} model={model} mayDelete={mayDelete(visit, repository, options)} />,
  };
}

async function showRaw(
  visit: Visit,
  repository: string,
  reference: string,
  { chromeOf }: RepositoryPlaceOptions,
): Promise<ConsoleAnswer> {
  const model = await readRawManifest(visit.registry, repository, reference);
  if (model === null) throw new ConsoleError('notFound');
  return { page: <RawPage chrome={chromeOf(visit)} model={model} /> };
}

async function showComparison(
  visit: Visit,
  repository: string,
  { chromeOf }: RepositoryPlaceOptions,
): Promise<ConsoleAnswer> {
  const { query, registry } = visit;
  const tags = await readTagNames(registry, repository);
  if (tags === null) throw new ConsoleError('notFound');
  // The list of tags asks with the boxes that were ticked.
  const ticked = query.getAll('tag').filter(isReference);
  const [a, b] = ['a', 'b'].map((side, index) =>
    (query.get(side) ?? ticked[index] ?? '').slice(0, maxReferenceLength),
  ) as [string, string];
  const isAsked = isReference(a) && isReference(b);
  const model = isAsked
    ? await readComparison(registry, { repository, a, b, platform: query.get('platform') })
    : null;
  const isMissing = async (each: string) =>
    !isReference(each) || (await readDigestOf(registry, repository, each)) === null;
  const missing: string[] = [];
  for (const each of model === null ? new Set([a, b]) : [])
    if (each !== '' && (await isMissing(each))) missing.push(each);
  const choices = searchTags(tags, '').found.slice(0, maxChoices);
  return {
    page: <ComparePage chrome={chromeOf(visit)} {...{ repository, a, b, missing, model }} tags={choices} />,
  };
}

function isReference(text: string): boolean {
  return parseRepositoryPath(`x/-/i/${text}`) !== null;
}

async function askBeforeDelete(
  visit: Visit,
  repository: string,
  options: RepositoryPlaceOptions,
): Promise<ConsoleAnswer> {
  if (!mayDelete(visit, repository, options)) throw new ConsoleError('forbidden');
  const { query, registry } = visit;
  const record = recordFor(visit, options);
  const digest = query.get('digest');
  const target =
    digest === null
      ? await readTagDeletion(registry, record, repository, query.getAll('tag'))
      : await readImageDeletion(registry, record, repository, digest);
  if (target === null) return { redirectTo: links.repository(repository) };
  return {
    page: (
      <DeletePage
        chrome={options.chromeOf(visit)}
        repository={repository}
        target={target}
        isCleaned={options.isCleaned}
      />
    ),
  };
}

/** Whoever may not hears it from the registry's own stages, as a client would. */
async function deleteThem({ form, registry }: FormVisit, repository: string): Promise<ConsoleAnswer> {
  const digest = form.get('digest');
  const isImage = digest !== null && digestForm.test(digest);
  const references = isImage ? [digest] : [...new Set(form.getAll('tag'))].slice(0, maxTagsAtOnce);
  const deleted: string[] = [];
  for (const reference of references) {
    const result = await deleteReference(registry, repository, reference);
    if (result === 'deleted') deleted.push(reference);
    else if (result !== 'gone') throw failureOf(result);
  }
  return { redirectTo: withQuery(links.repository(repository), { done: 'deleted', of: deleted.join(' ') }) };
}

function failureOf(result: 'denied' | 'unsupported' | 'busy' | 'failed'): ConsoleError {
  switch (result) {
    case 'denied':
      return new ConsoleError('forbidden');
    case 'unsupported':
      return new ConsoleError('notAllowed');
    case 'busy':
      return new ConsoleError('busy');
    case 'failed':
      return new ConsoleError('registryFailed');
  }
}
