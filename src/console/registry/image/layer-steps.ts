import { shorten, toForeignText } from '../foreign-text.ts';
import type { ConfigStep } from './image-config.ts';
import type { Descriptor } from './manifest.ts';
import type { HistoryStep, Layer, ShortList } from '../models.ts';

const maxLayers = 100;

/**
 * Pairs the layers of an image with the steps of its history: each step that is not marked as empty made the next layer. Where the
 * two do not fit, as the history says what it likes, layers have no steps.
 */
export function pairLayers(
  layers: readonly Descriptor[],
  history: readonly ConfigStep[],
): { layers: ShortList<Layer>; steps: ShortList<HistoryStep> } {
  const makers = findMakers(layers, history);
  const fits = makers.length === layers.length;
  const shown = layers.slice(0, maxLayers).map((layer, index) => showLayer(layer, makers[index] ?? null));
  let next = 0;
  const steps = shorten(history, maxLayers, (step): HistoryStep => {
    const layer = fits && step.hasLayer ? (shown[next++] ?? null) : null;
    return { text: toForeignText(step.text), layer, createdMs: step.createdMs };
  });
  return { layers: { items: shown, more: layers.length - shown.length }, steps };
}

/** The step that made each layer; empty where the two do not fit. */
export function findMakers(
  layers: readonly Descriptor[],
  history: readonly ConfigStep[],
): readonly ConfigStep[] {
  const makers = history.filter(({ hasLayer }) => hasLayer);
  return makers.length === layers.length ? makers : [];
}

export function showLayer({ digest, mediaType, bytes }: Descriptor, step: ConfigStep | null): Layer {
  const text = step === null || step.text === '' ? null : toForeignText(step.text);
  return { digest, mediaType: toForeignText(mediaType), bytes, step: text };
}
