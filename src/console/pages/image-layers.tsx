import type { Chrome } from '../components/chrome.ts';
import { Foreign } from '../components/foreign.tsx';
import { links } from '../components/links.ts';
import { lengthOf, limit } from '../components/short-list.ts';
import { Bytes, shortDigest } from '../components/values.tsx';
import type { HistoryStep, ImageOfPlatform, Layer } from '../registry/models.ts';

type ImageLayersProps = {
  readonly chrome: Chrome;
  readonly repository: string;
  /** Of the page. */
  readonly digest: string;
  readonly shown: ImageOfPlatform;
};

/** Docker makes no image with more layers than 127. */
const maxSteps = 160;
/** Of all steps on a page. */
const stepCharacters = 7000;

/** The layers with the steps that made them, in order; steps without a layer stand between them. */
export function ImageLayers({ chrome, repository, digest, shown }: ImageLayersProps) {
  const { t, f } = chrome;
  const { layers } = shown;
  const all = shown.steps.items.length > 0 ? shown.steps : { ...layers, items: layers.items.map(stepOf) };
  const steps = limit(all, maxSteps);
  const largest = Math.max(1, ...layers.items.map(({ bytes }) => bytes ?? 0));
  const max = Math.max(40, Math.min(300, Math.floor(stepCharacters / Math.max(1, steps.items.length))));
  return (
    <section aria-labelledby="layers">
      <h2 id="layers">{t.image.layers}</h2>
      <p class="muted">
        {t.image.layerCount(lengthOf(layers), f.count(lengthOf(layers)))}
        {' · '}
        <Bytes chrome={chrome} value={shown.bytes} />
        {shown.digest === digest ? null : (
          <>
            {' · '}
            <a href={links.raw(repository, shown.digest)}>{t.image.rawOfPlatform}</a>
          </>
        )}
      </p>
      {steps.items.length === 0 ? null : (
        <table class="layers">
          <caption class="sr">{t.image.layers}</caption>
          <thead>
            <tr>
              <th scope="col">{t.image.step}</th>
              <th scope="col">{t.common.digest}</th>
              <th scope="col" class="n" colSpan={2}>
                {t.common.size}
              </th>
            </tr>
          </thead>
          <tbody>
            {steps.items.map((step, index) => (
              <StepLine key={index} chrome={chrome} step={step} max={max} largest={largest} />
            ))}
          </tbody>
        </table>
      )}
      {steps.more === 0 ? null : <p class="muted">{t.image.moreInRaw(f.count(steps.more))}</p>}
    </section>
  );
}

type StepLineProps = {
  readonly chrome: Chrome;
  readonly step: HistoryStep;
  readonly max: number;
  readonly largest: number;
};

function StepLine({ chrome, step: { text, layer }, max, largest }: StepLineProps) {
  const { t } = chrome;
  const step =
    text.text === '' ? <span class="muted">{t.image.noStep}</span> : <Foreign text={text} max={max} />;
  if (layer === null)
    return (
      <tr class="no-layer">
        <td>{step}</td>
        <td colSpan={3}>{t.image.noLayer}</td>
      </tr>
    );
  return (
    <tr>
      <td>{step}</td>
      <td>
        <code>{shortDigest(layer.digest)}</code>
      </td>
      <td class="n">
        <Bytes chrome={chrome} value={layer.bytes} />
      </td>
      <td class="bar">{layer.bytes === null ? null : <Bar part={layer.bytes / largest} />}</td>
    </tr>
  );
}

/** How large it is beside the largest. An attribute of SVG, since styles inside of a page are not allowed. */
function Bar({ part }: { readonly part: number }) {
  return (
    <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      <rect width={Math.max(1, Math.round(part * 100))} height="4" />
    </svg>
  );
}

function stepOf(layer: Layer): HistoryStep {
  return { text: layer.step ?? { text: '', isCut: false }, layer, createdMs: null };
}
