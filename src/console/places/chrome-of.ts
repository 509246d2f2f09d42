import type { Policy } from '../../policy/decision.ts';
import { formatRegistry } from '../../tls/trust.ts';
import { iconAsset, scriptAsset, styleAsset } from '../assets/assets.ts';
import { mayCleanUp } from '../changes/rights.ts';
import type { Chrome } from '../components/chrome.ts';
import { catalogues, formats } from '../messages/locale.ts';
import type { Visit } from '../visit.ts';
import { localeOf } from '../requests/language.ts';
import { readNotice } from './notice-of.ts';

/** Which a browser leaves out. */
const httpsPort = 443;

/** What every page knows beside its own subject. */
export type ChromeOf = (visit: Visit) => Chrome;

/** @param options isCleaned: whether there is a clean-up to show */
export function createChromeOf(options: {
  readonly policy: Pick<Policy, 'decideForAll'>;
  readonly isCleaned: boolean;
  readonly now: () => number;
}): ChromeOf {
  const { policy, isCleaned, now } = options;
  return (visit) => {
    const { exchange, authentication, formToken, page, query } = visit;
    const locale = localeOf(visit);
    const principal = authentication?.principal;
    const isKnown = principal?.kind === 'user' || principal?.kind === 'token';
    const search = query.size === 0 ? '' : `?${query.toString()}`;
    return {
      ...{ t: catalogues[locale], f: formats[locale], locale, csrf: formToken, nowMs: now() },
      visitor: isKnown ? { name: principal.name, kind: principal.kind } : null,
      sections: {
        repositories: principal !== undefined,
        clean: isCleaned && principal !== undefined && mayCleanUp(policy, principal),
      },
      host: formatRegistry(exchange.publicName.authority ?? 'localhost', httpsPort),
      path: `/ui/${exchange.method === 'POST' ? pageOfForm(page) : page}${search}`,
      assets: { icon: iconAsset.path, style: styleAsset.path, script: scriptAsset.path },
      notice: readNotice(query),
    };
  };
}

/** Where the form was that was sent to this path, which cannot be read. */
function pageOfForm(page: string): string {
  return page.replace(/^(account|clean)\/.*/, '$1');
}
