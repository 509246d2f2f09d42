import type { ComponentChildren } from 'preact';
import type { Chrome } from '../components/chrome.ts';
import { Foreign } from '../components/foreign.tsx';
import { Fact } from '../components/forms.tsx';
import { lengthOf, limit } from '../components/short-list.ts';
import { Bytes, Time, Unknown } from '../components/values.tsx';
import type {
  Chart,
  ForeignPair,
  ForeignText,
  ImageConfig,
  ImageOfPlatform,
  ShortList,
} from '../registry/models.ts';

/** What of a list stands on the page: the raw configuration has all of it. */
const maxListed = 40;
/** Of foreign text in all lists of a page. */
const listCharacters = 6000;

/** What a container of this image starts with. */
export function ImageSettings({
  chrome,
  config,
  shown,
}: {
  readonly chrome: Chrome;
  readonly config: ImageConfig;
  readonly shown: ImageOfPlatform;
}) {
  const { t } = chrome;
  const code = (name: string, text: ForeignText | null) =>
    text === null ? null : (
      <Fact name={name}>
        <code>
          <Foreign text={text} max={400} />
        </code>
      </Fact>
    );
  const codes = (name: string, texts: ShortList<ForeignText>) =>
    texts.items.length === 0 ? null : (
      <Fact name={name}>
        <TextList chrome={chrome} texts={texts} />
      </Fact>
    );
  return (
    <section aria-labelledby="settings">
      <h2 id="settings">{t.image.settings}</h2>
      <dl class="facts">
        <Fact name={t.image.platform}>
          {shown.platform === null ? (
            <Unknown chrome={chrome} />
          ) : (
            <Foreign text={shown.platform} max={100} />
          )}
        </Fact>
        <Fact name={t.common.size}>
          <Bytes chrome={chrome} value={shown.bytes} />
        </Fact>
        {config.createdMs === null ? null : (
          <Fact name={t.image.created}>
            <Time chrome={chrome} ms={config.createdMs} isExact />
          </Fact>
        )}
        {code(t.settings.entrypoint, config.entrypoint)}
        {code(t.settings.command, config.command)}
        {code(t.settings.user, config.user)}
        {code(t.settings.workingDir, config.workingDir)}
        {codes(t.image.ports, config.ports)}
        {codes(t.image.volumes, config.volumes)}
      </dl>
      {lengthOf(config.environment) === 0 ? null : (
        <Folded chrome={chrome} name={t.image.environment} count={lengthOf(config.environment)}>
          <TextList chrome={chrome} texts={config.environment} />
        </Folded>
      )}
      {lengthOf(config.labels) === 0 ? null : (
        <Folded chrome={chrome} name={t.image.labels} count={lengthOf(config.labels)}>
          <PairTable chrome={chrome} pairs={config.labels} caption={t.image.labels} />
        </Folded>
      )}
    </section>
  );
}

type FoldedProps = {
  readonly chrome: Chrome;
  readonly name: string;
  readonly count: number;
  readonly children: ComponentChildren;
};

/** Closed when it is long. */
function Folded({ chrome: { f }, name, count, children }: FoldedProps) {
  return (
    <details open={count <= 8}>
      <summary>
        {name} <span class="muted">{f.count(count)}</span>
      </summary>
      {children}
    </details>
  );
}

function TextList({ chrome, texts }: { readonly chrome: Chrome; readonly texts: ShortList<ForeignText> }) {
  const { items, more } = limit(texts, maxListed);
  const max = shareOf(listCharacters, items.length);
  return (
    <ul class="plain">
      {items.map((text, index) => (
        <li key={index}>
          <code>
            <Foreign text={text} max={max} />
          </code>
        </li>
      ))}
      {more === 0 ? null : <li class="muted">{chrome.t.image.moreInRaw(chrome.f.count(more))}</li>}
    </ul>
  );
}

type PairTableProps = {
  readonly chrome: Chrome;
  readonly pairs: ShortList<ForeignPair>;
  readonly caption: string;
};

/** Names and values of others: labels, annotations. */
export function PairTable({ chrome, pairs, caption }: PairTableProps) {
  const { t } = chrome;
  const { items, more } = limit(pairs, maxListed);
  const max = shareOf(listCharacters, items.length);
  return (
    <>
      <table class="pairs">
        <caption class="sr">{caption}</caption>
        <thead class="sr">
          <tr>
            <th scope="col">{t.image.name}</th>
            <th scope="col">{t.image.value}</th>
          </tr>
        </thead>
        <tbody>
          {items.map(([name, value], index) => (
            <tr key={index}>
              <th scope="row">
                <Foreign text={name} max={200} />
              </th>
              <td>
                <Foreign text={value} max={max} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more === 0 ? null : <p class="muted">{t.image.moreInRaw(chrome.f.count(more))}</p>}
    </>
  );
}

/** What a Helm chart says of itself. */
export function ChartFacts({ chrome, chart }: { readonly chrome: Chrome; readonly chart: Chart }) {
  const { t } = chrome;
  const fact = (name: string, text: ForeignText | null) =>
    text === null ? null : (
      <Fact name={name}>
        <Foreign text={text} max={400} />
      </Fact>
    );
  return (
    <section aria-labelledby="chart">
      <h2 id="chart">{t.kinds.chart}</h2>
      <dl class="facts">
        {fact(t.image.name, chart.name)}
        {fact(t.image.version, chart.version)}
        {fact(t.image.appVersion, chart.appVersion)}
        {fact(t.image.description, chart.description)}
      </dl>
    </section>
  );
}

/** How many characters each of so many texts may have. */
function shareOf(characters: number, texts: number): number {
  return Math.max(60, Math.min(400, Math.floor(characters / Math.max(1, texts))));
}
