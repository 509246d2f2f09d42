import { quote } from '../../tls/trust.ts';
import type { Chrome } from '../components/chrome.ts';
import { Command, Copyable } from '../components/command.tsx';
import { Foreign } from '../components/foreign.tsx';
import { Fact } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links, withQuery } from '../components/links.ts';
import { Names } from '../components/names.tsx';
import { Breadcrumbs } from '../components/place.tsx';
import { lengthOf } from '../components/short-list.ts';
import { Bytes, Unknown, WhenBy, shortDigest } from '../components/values.tsx';
import type { ImageModel, ImageOfPlatform } from '../registry/models.ts';
import { ImageLayers } from './image-layers.tsx';
import { ChartFacts, ImageSettings, PairTable } from './image-settings.tsx';
import { ImageReferrers } from './image-referrers.tsx';

export type ImagePageProps = {
  readonly chrome: Chrome;
  readonly model: ImageModel;
  readonly mayDelete: boolean;
};

export function ImagePage(props: ImagePageProps) {
  const { chrome, model } = props;
  const { t } = chrome;
  const { repository, reference, shown } = model;
  const isDigest = reference.includes(':');
  const name = isDigest ? shortDigest(reference) : reference;
  return (
    <Layout chrome={chrome} title={`${repository}${isDigest ? '@' : ':'}${name}`} section="repositories">
      <Breadcrumbs chrome={chrome} repository={repository} />
      <h1>
        <Foreign text={name} /> <span class="kind">{t.kinds[model.kind]}</span>
      </h1>
      <Summary {...props} />
      <PullCommands {...props} />
      {lengthOf(model.platforms) > 1 ? <Platforms {...props} /> : null}
      {shown === null ? null : <Shown chrome={chrome} model={model} shown={shown} />}
      {model.annotations.items.length === 0 ? null : (
        <section aria-labelledby="annotations">
          <h2 id="annotations">{t.image.annotations}</h2>
          <PairTable chrome={chrome} pairs={model.annotations} caption={t.image.annotations} />
        </section>
      )}
      <ImageReferrers chrome={chrome} repository={repository} referrers={model.referrers} />
      <Actions {...props} />
    </Layout>
  );
}

function Summary({ chrome, model }: ImagePageProps) {
  const { t } = chrome;
  const { repository, twins } = model;
  return (
    <dl class="facts">
      <Fact name={t.common.digest} isWide>
        <Copyable text={model.digest} />
      </Fact>
      <Fact name={t.common.size}>
        <Bytes chrome={chrome} value={model.bytes} />
      </Fact>
      <Fact name={t.common.pushed}>
        <WhenBy chrome={chrome} ms={model.pushedMs} by={model.pushedBy} isExact />
      </Fact>
      <Fact name={t.common.pulled}>
        <WhenBy chrome={chrome} ms={model.pulledMs} by={null} isExact />
      </Fact>
      <Fact name={t.image.twins}>
        {twins === null ? (
          <Unknown chrome={chrome} />
        ) : twins.items.length === 0 ? (
          t.image.noTwins
        ) : (
          <Names
            chrome={chrome}
            names={twins}
            max={maxTwins}
            wrap={(twin, shown) => <a href={links.image(repository, twin)}>{shown}</a>}
          />
        )}
      </Fact>
      <Fact name={t.image.mediaType} isWide>
        <Foreign text={model.mediaType} max={200} />
      </Fact>
    </dl>
  );
}

const maxTwins = 20;

function PullCommands({ chrome: { t, host }, model }: ImagePageProps) {
  const { repository, reference, digest, kind } = model;
  const name = `${host}/${repository}`;
  const tagged = quote(reference.includes(':') ? `${name}@${reference}` : `${name}:${reference}`);
  return (
    <section aria-labelledby="pull">
      <h2 id="pull">{t.image.pull}</h2>
      <div class="commands">
        {kind === 'chart' ? (
          <Command label="Helm" text={`helm pull oci://${name} --version ${quote(reference)}`} />
        ) : kind !== 'image' && kind !== 'index' && kind !== 'schema1' ? (
          <Command label="ORAS" text={`oras pull ${tagged}`} />
        ) : (
          <>
            <Command label="Docker" text={`docker pull ${tagged}`} />
            <Command label="Podman" text={`podman pull ${tagged}`} />
          </>
        )}
        <Command
          label="Skopeo"
          text={`skopeo copy --all docker://${tagged} ${quote(`dir:${folderName(repository)}`)}`}
        />
        {reference === digest ? null : <Command label={t.image.byDigest} text={`${name}@${digest}`} />}
      </div>
    </section>
  );
}

function folderName(repository: string): string {
  return repository.slice(repository.lastIndexOf('/') + 1);
}

/** Links, so that they work without a script. Another platform of the same tag is another page. */
function Platforms({ chrome, model }: ImagePageProps) {
  const { repository, reference, platforms, shown } = model;
  return (
    <nav class="tabs" aria-label={chrome.t.repository.platforms}>
      <ul>
        {platforms.items.map(({ digest, platform, bytes }) => (
          <li key={digest}>
            <a
              href={withQuery(links.image(repository, reference), { platform: digest })}
              aria-current={digest === shown?.digest ? 'true' : undefined}
            >
              {platform === null ? chrome.t.common.unknown : <Foreign text={platform} max={64} />}{' '}
              {bytes === null ? null : <small>{chrome.f.bytes(bytes)}</small>}
            </a>
          </li>
        ))}
        {platforms.more === 0 ? null : <li>{chrome.t.common.more(chrome.f.count(platforms.more))}</li>}
      </ul>
    </nav>
  );
}

type ShownProps = { readonly chrome: Chrome; readonly model: ImageModel; readonly shown: ImageOfPlatform };

function Shown({ chrome, model: { repository, digest }, shown }: ShownProps) {
  return (
    <>
      {shown.chart === null ? null : <ChartFacts chrome={chrome} chart={shown.chart} />}
      {shown.config === null ? null : <ImageSettings chrome={chrome} config={shown.config} shown={shown} />}
      <ImageLayers chrome={chrome} repository={repository} digest={digest} shown={shown} />
    </>
  );
}

function Actions({ chrome: { t }, model, mayDelete }: ImagePageProps) {
  const { repository, reference, digest } = model;
  const isTag = reference !== digest;
  return (
    <section class="more" aria-label={t.image.more}>
      {isTag ? <a href={withQuery(links.compare(repository), { a: reference })}>{t.image.compare}</a> : null}
      <a href={links.raw(repository, digest)}>{t.image.rawManifest}</a>
      {mayDelete && isTag ? (
        <a class="danger" href={withQuery(links.delete(repository), { tag: reference })}>
          {t.image.deleteTag}
        </a>
      ) : null}
      {mayDelete ? (
        <a class="danger" href={withQuery(links.delete(repository), { digest })}>
          {t.image.deleteImage}
        </a>
      ) : null}
    </section>
  );
}
