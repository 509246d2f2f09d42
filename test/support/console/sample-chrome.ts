import type { Chrome } from '../../../src/console/components/chrome.ts';
import { iconAsset, scriptAsset, styleAsset } from '../../../src/console/assets/assets.ts';
import type { Messages } from '../../../src/console/messages/en.ts';
import { catalogues, formats, type Locale } from '../../../src/console/messages/locale.ts';
import { nowMs } from './sample-models.ts';

/** What a page has around it when alice looks at it. */
export function sampleChrome(locale: Locale, name = 'alice', t: Messages = catalogues[locale]): Chrome {
  return {
    t,
    f: formats[locale],
    locale,
    visitor: { name, kind: 'user' },
    sections: { repositories: true, clean: true },
    csrf: 'dGhpcyBpcyBvbmx5IGEgc2FtcGxlIG9mIDMyIGJ5dGVz',
    host: 'registry.example.com',
    path: '/ui/?q=web',
    nowMs,
    assets: { icon: iconAsset.path, style: styleAsset.path, script: scriptAsset.path },
    notice: null,
  };
}
