import type { Chrome } from '../components/chrome.ts';
import { Copyable } from '../components/command.tsx';
import { Foreign, visibleText } from '../components/foreign.tsx';
import { Fact } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { Breadcrumbs } from '../components/place.tsx';
import { Bytes, shortDigest } from '../components/values.tsx';
import type { RawManifestModel } from '../registry/models.ts';

export type RawPageProps = { readonly chrome: Chrome; readonly model: RawManifestModel };

/** A manifest as the registry has it. */
export function RawPage({ chrome, model }: RawPageProps) {
  const { t } = chrome;
  const { repository, reference, digest, mediaType, bytes, text, isCut } = model;
  const title = t.image.rawTitle(reference === digest ? shortDigest(digest) : visibleText(reference));
  return (
    <Layout chrome={chrome} title={title} section="repositories">
      <Breadcrumbs chrome={chrome} repository={repository} reference={reference} />
      <h1>{title}</h1>
      <dl class="facts">
        <Fact name={t.common.digest} isWide>
          <Copyable text={digest} />
        </Fact>
        <Fact name={t.common.size}>
          <Bytes chrome={chrome} value={bytes} />
        </Fact>
        <Fact name={t.image.mediaType} isWide>
          <Foreign text={mediaType} max={200} />
        </Fact>
      </dl>
      <pre class="raw" tabIndex={0} dir="ltr">
        <code>{text.replace(/[^\n]+/g, visibleText)}</code>
      </pre>
      {isCut ? <p class="muted">{t.image.rawCut}</p> : null}
    </Layout>
  );
}
