import type { Chrome } from '../components/chrome.ts';
import { Foreign } from '../components/foreign.tsx';
import { links } from '../components/links.ts';
import { limit } from '../components/short-list.ts';
import { Bytes, shortDigest } from '../components/values.tsx';
import type { Referrer, ShortList } from '../registry/models.ts';

type ImageReferrersProps = {
  readonly chrome: Chrome;
  readonly repository: string;
  /** Null: the registry does not say. */
  readonly referrers: ShortList<Referrer> | null;
};

const maxReferrers = 30;
const maxAnnotations = 3;

/** What was attached to the image: signatures, SBOMs, attestations. */
export function ImageReferrers({ chrome, repository, referrers }: ImageReferrersProps) {
  const { t, f } = chrome;
  const listed = limit(referrers ?? { items: [], more: 0 }, maxReferrers);
  return (
    <section aria-labelledby="referrers">
      <h2 id="referrers">{t.image.referrers}</h2>
      {referrers === null ? (
        <p class="muted">{t.image.referrersUnknown}</p>
      ) : referrers.items.length === 0 ? (
        <p class="muted">{t.image.noReferrers}</p>
      ) : (
        <ReferrerTable chrome={chrome} repository={repository} items={listed.items} />
      )}
      {listed.more === 0 ? null : <p class="muted">{t.common.more(f.count(listed.more))}</p>}
    </section>
  );
}

function ReferrerTable({
  chrome,
  repository,
  items,
}: {
  readonly chrome: Chrome;
  readonly repository: string;
  readonly items: readonly Referrer[];
}) {
  const { t } = chrome;
  return (
    <table class="cards">
      <caption class="sr">{t.image.referrers}</caption>
      <thead>
        <tr>
          <th scope="col">{t.image.referrerKind}</th>
          <th scope="col">{t.image.artifactType}</th>
          <th scope="col">{t.common.digest}</th>
          <th scope="col" class="n">
            {t.common.size}
          </th>
        </tr>
      </thead>
      <tbody>
        {items.map((referrer) => (
          <tr key={referrer.digest}>
            <th scope="row">{t.kinds[referrer.kind]}</th>
            <td>
              <Foreign text={referrer.artifactType} max={120} />
              {referrer.annotations.items.slice(0, maxAnnotations).map(([name, value], index) => (
                <small key={index}>
                  <Foreign text={name} max={80} />: <Foreign text={value} max={120} />
                </small>
              ))}
            </td>
            <td>
              <a href={links.image(repository, referrer.digest)}>
                <code>{shortDigest(referrer.digest)}</code>
              </a>
            </td>
            <td class="n">
              <Bytes chrome={chrome} value={referrer.bytes} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
