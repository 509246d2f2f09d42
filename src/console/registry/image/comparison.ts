import { shorten, toForeignText } from '../foreign-text.ts';
import { readObject, readPairs, readText, readTexts, type ForeignObject } from '../foreign-json.ts';
import { readHistory, type ConfigStep } from './image-config.ts';
import { findMakers, showLayer } from './layer-steps.ts';
import { sumBytes, type Descriptor } from './manifest.ts';
import type { ChangedSetting, CompareModel, Layer, SettingName, ShortList } from '../models.ts';

/** One of the two that are compared; `config`: as others wrote it, null where it was not read. */
export type ComparedImage = {
  readonly layers: readonly Descriptor[];
  readonly config: ForeignObject | null;
};

const maxLayers = 60;
const maxChanges = 60;

type Setting = { readonly kind: SettingName; readonly name: string | null; readonly value: string };

/** Says which layers and settings of two images differ. */
export function compareImages(
  a: ComparedImage,
  b: ComparedImage,
): Pick<
  CompareModel,
  'shared' | 'onlyA' | 'onlyB' | 'sharedBytes' | 'onlyABytes' | 'onlyBBytes' | 'settings'
> {
  const inA = new Set(a.layers.map(({ digest }) => digest));
  const inB = new Set(b.layers.map(({ digest }) => digest));
  const shared = a.layers.filter(({ digest }) => inB.has(digest));
  const onlyA = a.layers.filter(({ digest }) => !inB.has(digest));
  const onlyB = b.layers.filter(({ digest }) => !inA.has(digest));
  const [makersA, makersB] = [makersOf(a), makersOf(b)];
  return {
    shared: showLayers(shared, makersA),
    onlyA: showLayers(onlyA, makersA),
    onlyB: showLayers(onlyB, makersB),
    sharedBytes: sumBytes(shared),
    onlyABytes: sumBytes(onlyA),
    onlyBBytes: sumBytes(onlyB),
    settings: compareSettings(readSettings(a.config), readSettings(b.config)),
  };
}

/** The step that made each layer; empty where the two do not fit. */
function makersOf({ layers, config }: ComparedImage): ReadonlyMap<Descriptor, ConfigStep | undefined> {
  const makers = findMakers(layers, readHistory(config?.['history']));
  return new Map(layers.map((layer, index) => [layer, makers[index]]));
}

/** Some layers of an image, with the steps that made them. */
function showLayers(
  some: readonly Descriptor[],
  makers: ReadonlyMap<Descriptor, ConfigStep | undefined>,
): ShortList<Layer> {
  return shorten(some, maxLayers, (layer) => showLayer(layer, makers.get(layer) ?? null));
}

function compareSettings(a: readonly Setting[], b: readonly Setting[]): ShortList<ChangedSetting> {
  const pairs = new Map<string, { setting: Setting; a: string | null; b: string | null }>();
  for (const setting of a) pairs.set(keyOf(setting), { setting, a: setting.value, b: null });
  for (const setting of b) {
    const key = keyOf(setting);
    pairs.set(key, { setting, a: pairs.get(key)?.a ?? null, b: setting.value });
  }
  const changed = [...pairs.values()].filter((pair) => pair.a !== pair.b);
  return shorten(changed, maxChanges, (pair): ChangedSetting => {
    const { kind, name } = pair.setting;
    return { kind, name: showText(name), a: showText(pair.a), b: showText(pair.b) };
  });
}

function showText(text: string | null) {
  return text === null ? null : toForeignText(text);
}

function keyOf({ kind, name }: Setting): string {
  return `${kind} ${name ?? ''}`;
}

/** The settings of a configuration, whole: two that differ behind their first KB differ. */
function readSettings(config: ForeignObject | null): readonly Setting[] {
  const settings = readObject(config?.['config']);
  const one = (kind: SettingName, value: unknown): readonly Setting[] => {
    const text = readText(value) ?? (Array.isArray(value) ? JSON.stringify(readTexts(value)) : null);
    return text === null ? [] : [{ kind, name: null, value: text }];
  };
  const names = (kind: SettingName, value: unknown): readonly Setting[] =>
    Object.keys(readObject(value)).map((name) => ({ kind, name, value: name }));
  return [
    ...one('entrypoint', settings['Entrypoint']),
    ...one('command', settings['Cmd']),
    ...one('user', settings['User']),
    ...one('workingDir', settings['WorkingDir']),
    ...names('port', settings['ExposedPorts']),
    ...names('volume', settings['Volumes']),
    ...readTexts(settings['Env']).map(parseVariable),
    ...readPairs(settings['Labels']).map(([name, value]): Setting => ({ kind: 'label', name, value })),
  ];
}

function parseVariable(text: string): Setting {
  const [name = ''] = text.split('=', 1);
  return { kind: 'environment', name, value: text.slice(name.length + 1) };
}
