import { createHash } from 'node:crypto';
import { icon } from './icon.ts';
import { script } from './script.ts';
import { base } from './style/base.ts';
import { boxes } from './style/boxes.ts';
import { forms } from './style/forms.ts';
import { frame } from './style/frame.ts';
import { narrow } from './style/narrow.ts';
import { tables } from './style/tables.ts';

/** A file that pages link to. Its name holds its hash, so browsers may keep it for ever. */
export type Asset = { readonly path: string; readonly type: string; readonly body: Buffer };

export const styleAsset = createAsset(
  'style',
  'css',
  'text/css; charset=utf-8',
  base + frame + forms + boxes + tables + narrow,
);
export const iconAsset = createAsset('icon', 'svg', 'image/svg+xml', icon);
export const scriptAsset = createAsset('script', 'js', 'text/javascript; charset=utf-8', script);

/** By path. */
export const assets: ReadonlyMap<string, Asset> = new Map(
  [styleAsset, iconAsset, scriptAsset].map((asset) => [asset.path, asset]),
);

function createAsset(name: string, ending: string, type: string, text: string): Asset {
  const body = Buffer.from(text);
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 12);
  return { path: `/ui/assets/${name}-${hash}.${ending}`, type, body };
}
