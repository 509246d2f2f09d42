import { shorten, toForeignText } from '../foreign-text.ts';
import {
  isObject,
  parseForeignObject,
  readList,
  readObject,
  readPairs,
  readText,
  readTexts,
  readTimeMs,
} from '../foreign-json.ts';
import { readPlatform } from './manifest.ts';
import type { Chart, ForeignPair, ForeignText, ImageConfig, Platform, ShortList } from '../models.ts';

/** A step of an image's history (image-spec, "Image Configuration"). */
export type ConfigStep = {
  readonly text: string;
  readonly createdMs: number | null;
  readonly hasLayer: boolean;
};

export type ParsedConfig = {
  readonly config: ImageConfig;
  readonly platform: Platform | null;
  readonly history: readonly ConfigStep[];
};

const maxPairs = 50;
const maxSettings = 20;

/** Reads an image's configuration; null: it is none. */
export function parseImageConfig(body: Buffer): ParsedConfig | null {
  const fields = parseForeignObject(body);
  if (fields === null) return null;
  const settings = readObject(fields['config']);
  const config: ImageConfig = {
    command: showWords(settings['Cmd']),
    entrypoint: showWords(settings['Entrypoint']),
    user: showText(settings['User']),
    workingDir: showText(settings['WorkingDir']),
    ports: showNames(settings['ExposedPorts']),
    volumes: showNames(settings['Volumes']),
    environment: shorten(readTexts(settings['Env']), maxPairs, (text) => toForeignText(text)),
    labels: showPairs(settings['Labels']),
    createdMs: readTimeMs(fields['created']),
  };
  return { config, platform: readPlatform(fields), history: readHistory(fields['history']) };
}

/** Reads what a Helm chart says of itself; null: it says nothing. */
export function parseChart(body: Buffer): Chart | null {
  const fields = parseForeignObject(body);
  if (fields === null) return null;
  return {
    name: showText(fields['name']),
    version: showText(fields['version']),
    appVersion: showText(fields['appVersion']),
    description: showText(fields['description']),
  };
}

/** The fields of an object whose values are texts, as they are shown. */
export function showPairs(value: unknown): ShortList<ForeignPair> {
  return shorten(readPairs(value), maxPairs, ([name, text]) => [toForeignText(name), toForeignText(text)]);
}

function showText(value: unknown): ForeignText | null {
  const text = readText(value);
  return text === null ? null : toForeignText(text);
}

/** The names of an object's fields: so the image-spec has ports and volumes. */
function showNames(value: unknown): ShortList<ForeignText> {
  return shorten(Object.keys(readObject(value)), maxSettings, (name) => toForeignText(name));
}

/** More words than can be shown are not looked at. */
const maxWords = 1024;
const plainWord = /^[\w./:=@%+,-]+$/;

/** A command line: a word with anything but letters, digits and a few signs is put in quotes. */
function showWords(value: unknown): ForeignText | null {
  if (typeof value === 'string') return showText(value);
  const words = readTexts(value).slice(0, maxWords);
  if (words.length === 0) return null;
  const line = words.map((word) => {
    const start = word.slice(0, maxWords + 1);
    return plainWord.test(start) ? start : JSON.stringify(start);
  });
  return toForeignText(line.join(' '));
}

/** So many steps are looked at; no image has as many layers. */
const maxSteps = 1000;

/** The steps of an image's history, as its configuration has them. */
export function readHistory(value: unknown): readonly ConfigStep[] {
  return readList(value)
    .slice(0, maxSteps)
    .filter(isObject)
    .map((step) => ({
      text: describeStep(readText(step['created_by']) ?? readText(step['comment']) ?? ''),
      createdMs: readTimeMs(step['created']),
      hasLayer: step['empty_layer'] !== true,
    }));
}

/** A step as it stands in a Dockerfile, as far as Docker's and BuildKit's way to write it down tells. */
export function describeStep(createdBy: string): string {
  const text = createdBy.slice(0, 2048).trim();
  const noLayer = /^\/bin\/sh -c #\(nop\)\s*(?=\S)/.exec(text);
  if (noLayer !== null) return text.slice(noLayer[0].length);
  const unmarked = text.endsWith('# buildkit') ? text.slice(0, -'# buildkit'.length).trimEnd() : text;
  const shell = /^(?:RUN (?:\|\d+ )?)?\/bin\/sh -c (?=\S)/.exec(unmarked);
  return shell === null ? unmarked : `RUN ${unmarked.slice(shell[0].length)}`;
}
