import type { DeletionTarget } from '../changes/deletion.ts';
import type { Chrome } from '../components/chrome.ts';
import { Fill } from '../components/fill.tsx';
import { Foreign } from '../components/foreign.tsx';
import { CsrfField } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';
import { Names } from '../components/names.tsx';
import { NoticeBox } from '../components/notice.tsx';
import { Breadcrumbs } from '../components/place.tsx';
import { Bytes, shortDigest } from '../components/values.tsx';

export type DeletePageProps = {
  readonly chrome: Chrome;
  readonly repository: string;
  readonly target: DeletionTarget;
  /** Whether a clean-up takes the layers some time. */
  readonly isCleaned: boolean;
};

/** Asks before anything is deleted, and says what else goes and what stays. */
export function DeletePage(props: DeletePageProps) {
  const { chrome, repository, target, isCleaned } = props;
  const { t } = chrome;
  const title =
    target.kind === 'image'
      ? t.delete.imageTitle
      : t.delete.tagsTitle(target.tags.length, chrome.f.count(target.tags.length));
  const first = target.kind === 'tags' ? target.tags[0]?.tag : target.digest;
  const isOne = target.kind === 'image' || target.tags.length === 1;
  return (
    <Layout chrome={chrome} title={title} section="repositories" isNarrow>
      <Breadcrumbs chrome={chrome} repository={repository} />
      <h1>{title}</h1>
      {target.kind === 'tags' ? (
        <Tags chrome={chrome} tags={target.tags} />
      ) : (
        <Image chrome={chrome} image={target} />
      )}
      <NoticeBox kind="warning">
        {t.delete.noUndo} {isCleaned ? t.delete.dataStays : null}
      </NoticeBox>
      <form method="post" action={links.delete(repository)} class="buttons">
        <CsrfField chrome={chrome} />
        {target.kind === 'image' ? (
          <input type="hidden" name="digest" value={target.digest} />
        ) : (
          target.tags.map(({ tag }) => <input key={tag} type="hidden" name="tag" value={tag} />)
        )}
        <button class="danger">{t.delete.confirm}</button>
        <a
          class="button"
          href={isOne && first !== undefined ? links.image(repository, first) : links.repository(repository)}
        >
          {t.common.cancel}
        </a>
      </form>
    </Layout>
  );
}

type TagsProps = {
  readonly chrome: Chrome;
  readonly tags: Extract<DeletePageProps['target'], { kind: 'tags' }>['tags'];
};

function Tags({ chrome, tags }: TagsProps) {
  const { t } = chrome;
  return (
    <>
      <ul class="targets">
        {tags.map(({ tag, digest, bytes, twins }) => (
          <li key={tag}>
            <strong>
              <Foreign text={tag} />
            </strong>{' '}
            <span class="muted">
              {digest === null ? null : <code>{shortDigest(digest)}</code>}{' '}
              {bytes === null ? null : <Bytes chrome={chrome} value={bytes} />}
            </span>
            <br />
            {twins === null ? (
              t.delete.twinsUnknown
            ) : twins.length === 0 ? (
              t.delete.lastTag
            ) : (
              <Fill text={t.delete.twinsStay} parts={[<Strong chrome={chrome} names={twins} />]} />
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

type ImageProps = {
  readonly chrome: Chrome;
  readonly image: Extract<DeletePageProps['target'], { kind: 'image' }>;
};

function Image({ chrome, image: { digest, bytes, tags, referrers } }: ImageProps) {
  const { t, f } = chrome;
  return (
    <>
      <p>
        <code>
          <Foreign text={digest} />
        </code>{' '}
        {bytes === null ? null : (
          <span class="muted">
            <Bytes chrome={chrome} value={bytes} />
          </span>
        )}
      </p>
      <h2>{t.delete.alsoGoes}</h2>
      <ul>
        <li>
          {tags.length === 0 ? (
            t.delete.noTags
          ) : (
            <Fill
              text={t.delete.tagsGo(tags.length, f.count(tags.length))}
              parts={[<Strong chrome={chrome} names={tags} />]}
            />
          )}
        </li>
        {referrers === 0 ? null : (
          <li>
            {referrers === null
              ? t.delete.referrersUnknown
              : t.delete.referrersStay(referrers, f.count(referrers))}
          </li>
        )}
      </ul>
    </>
  );
}

const maxNames = 50;

function Strong({ chrome, names }: { readonly chrome: Chrome; readonly names: readonly string[] }) {
  return (
    <Names
      chrome={chrome}
      names={{ items: names, more: 0 }}
      max={maxNames}
      wrap={(_, shown) => <strong>{shown}</strong>}
    />
  );
}
