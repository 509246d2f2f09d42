import type { Chrome } from '../components/chrome.ts';
import { Fill } from '../components/fill.tsx';
import { Foreign, visibleText } from '../components/foreign.tsx';
import { Field } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links, withQuery } from '../components/links.ts';
import { NoticeBox } from '../components/notice.tsx';
import { Breadcrumbs } from '../components/place.tsx';
import { lengthOf, limit } from '../components/short-list.ts';
import { Bytes, Unknown, shortDigest } from '../components/values.tsx';
import type { ChangedSetting, CompareModel, ForeignText, Layer, ShortList } from '../registry/models.ts';

export type ComparePageProps = {
  readonly chrome: Chrome;
  readonly repository: string;
  /** What was asked for; empty: not chosen yet. */
  readonly a: string;
  readonly b: string;
  /** Tags to choose from; of many the first. */
  readonly tags: readonly string[];
  /** What of a and b there is not. */
  readonly missing: readonly string[];
  /** Null: there is nothing to compare yet. */
  readonly model: CompareModel | null;
};

const maxLayers = 60;
const maxSettings = 60;

export function ComparePage({ chrome, repository, a, b, tags, missing, model }: ComparePageProps) {
  const { t } = chrome;
  return (
    <Layout chrome={chrome} title={t.compare.titleOf(visibleText(repository))} section="repositories">
      <Breadcrumbs chrome={chrome} repository={repository} />
      <h1>{t.compare.title}</h1>
      {missing.map((one) => (
        <NoticeBox key={one} kind="failed">
          <Fill text={t.compare.missing} parts={[<Foreign text={one} max={200} />]} />
        </NoticeBox>
      ))}
      <form action={links.compare(repository)} class="inline">
        <Field name="a" label={t.compare.a} value={a} list="tags" isRequired autocomplete="off" />
        <Field name="b" label={t.compare.b} value={b} list="tags" isRequired autocomplete="off" />
        <button>{t.compare.submit}</button>
        <datalist id="tags">
          {tags.map((tag) => (
            <option key={tag} value={tag} />
          ))}
        </datalist>
      </form>
      {model === null ? null : <Differences chrome={chrome} model={model} />}
    </Layout>
  );
}

type DifferencesProps = { readonly chrome: Chrome; readonly model: CompareModel };

function Differences({ chrome, model }: DifferencesProps) {
  const { t } = chrome;
  const { a, b, shared, onlyA, onlyB, settings, digestA, digestB } = model;
  const tile = (title: string, layers: ShortList<Layer>, bytes: number | null) => (
    <div>
      <dt>{title}</dt>
      <dd>
        <Bytes chrome={chrome} value={bytes} />
        <small>{t.image.layerCount(lengthOf(layers), chrome.f.count(lengthOf(layers)))}</small>
      </dd>
    </div>
  );
  const onlyInA = t.compare.onlyIn(visibleText(a));
  const onlyInB = t.compare.onlyIn(visibleText(b));
  const isSame = digestA === digestB || lengthOf(onlyA) + lengthOf(onlyB) + lengthOf(settings) === 0;
  return (
    <>
      <ComparedPlatform chrome={chrome} model={model} />
      {isSame ? (
        <p class="empty">{t.compare.same}</p>
      ) : (
        <>
          <dl class="tiles">
            {tile(t.compare.shared, shared, model.sharedBytes)}
            {tile(onlyInA, onlyA, model.onlyABytes)}
            {tile(onlyInB, onlyB, model.onlyBBytes)}
          </dl>
          <section aria-labelledby="layers">
            <h2 id="layers">{t.image.layers}</h2>
            <LayerTable chrome={chrome} title={onlyInA} layers={onlyA} />
            <LayerTable chrome={chrome} title={onlyInB} layers={onlyB} />
            <LayerTable chrome={chrome} title={t.compare.shared} layers={shared} />
          </section>
          <Settings chrome={chrome} model={model} />
        </>
      )}
    </>
  );
}

function ComparedPlatform({ chrome, model }: DifferencesProps) {
  const { repository, a, b, platform, platforms } = model;
  if (platforms.items.length < 2) return null;
  return (
    <nav class="tabs" aria-label={chrome.t.repository.platforms}>
      <ul>
        {platforms.items.map((one) => (
          <li key={one}>
            <a
              href={withQuery(links.compare(repository), { a, b, platform: one })}
              aria-current={one === platform ? 'true' : undefined}
            >
              <Foreign text={one} max={64} />
            </a>
          </li>
        ))}
        {platforms.more === 0 ? null : <li>{chrome.t.common.more(chrome.f.count(platforms.more))}</li>}
      </ul>
    </nav>
  );
}

type LayerTableProps = { readonly chrome: Chrome; readonly title: string; readonly layers: ShortList<Layer> };

function LayerTable({ chrome, title, layers }: LayerTableProps) {
  const { t, f } = chrome;
  const { items, more } = limit(layers, maxLayers);
  if (items.length === 0) return null;
  return (
    <table class="layers">
      <caption>{title}</caption>
      <thead class="sr">
        <tr>
          <th scope="col">{t.image.step}</th>
          <th scope="col">{t.common.digest}</th>
          <th scope="col">{t.common.size}</th>
        </tr>
      </thead>
      <tbody>
        {items.map((layer, index) => (
          <tr key={index}>
            <td>
              {layer.step === null ? (
                <span class="muted">{t.image.noStep}</span>
              ) : (
                <Foreign text={layer.step} max={120} />
              )}
            </td>
            <td>
              <code>{shortDigest(layer.digest)}</code>
            </td>
            <td class="n">
              <Bytes chrome={chrome} value={layer.bytes} />
            </td>
          </tr>
        ))}
        {more > 0 ? (
          <tr>
            <td colSpan={3} class="muted">
              {t.common.more(f.count(more))}
            </td>
          </tr>
        ) : null}
      </tbody>
    </table>
  );
}

function Settings({ chrome, model: { a, b, settings } }: DifferencesProps) {
  const { t, f } = chrome;
  const { items, more } = limit(settings, maxSettings);
  const value = (text: ForeignText | null) =>
    text === null ? (
      <Unknown chrome={chrome} />
    ) : (
      <code>
        <Foreign text={text} max={200} />
      </code>
    );
  return (
    <section aria-labelledby="settings">
      <h2 id="settings">{t.compare.settings}</h2>
      {items.length === 0 ? (
        <p class="muted">{t.compare.sameSettings}</p>
      ) : (
        <table class="cards">
          <caption class="sr">{t.compare.settings}</caption>
          <thead>
            <tr>
              <th scope="col">{t.compare.setting}</th>
              <th scope="col">
                <Foreign text={a} max={80} />
              </th>
              <th scope="col">
                <Foreign text={b} max={80} />
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((setting, index) => (
              <tr key={index}>
                <th scope="row">
                  <SettingLabel chrome={chrome} setting={setting} />
                </th>
                <td data-l={shorten(a)}>{value(setting.a)}</td>
                <td data-l={shorten(b)}>{value(setting.b)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {more > 0 ? <p class="muted">{t.common.more(f.count(more))}</p> : null}
    </section>
  );
}

function SettingLabel({ chrome: { t }, setting: { kind, name } }: SettingLabelProps) {
  return (
    <>
      {t.settings[kind]}{' '}
      {name === null ? null : (
        <code>
          <Foreign text={name} max={120} />
        </code>
      )}
    </>
  );
}

type SettingLabelProps = { readonly chrome: Chrome; readonly setting: ChangedSetting };

function shorten(reference: string): string {
  return visibleText(reference.slice(0, 24));
}
