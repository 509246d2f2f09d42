import { headerValues } from '../../http/raw-headers.ts';
import { locales, type Locale } from '../messages/locale.ts';
import type { Visit } from '../visit.ts';

/** Below /ui/ alone: nothing of it reaches a registry. */
const cookieName = 'tidegate-lang';
const maxRanges = 20;

/** The language of a page: the one that was chosen, else what the browser asks for, else English. */
export function localeOf({ query, exchange: { req } }: Visit): Locale {
  const { rawHeaders } = req;
  const cookies = headerValues(rawHeaders, 'cookie').join('; ').split(/;\s*/);
  const kept = cookies.find((cookie) => cookie.startsWith(`${cookieName}=`))?.slice(cookieName.length + 1);
  return (
    findLocale(query.get('lang')) ??
    findLocale(kept) ??
    acceptedLocale(headerValues(rawHeaders, 'accept-language').join(',')) ??
    'en'
  );
}

function findLocale(text: string | null | undefined): Locale | null {
  return locales.find((locale) => locale === text) ?? null;
}

/** RFC 9110 section 12.5.4; Chinese as it is written elsewhere is nearer to 简体中文 than English is. */
export function acceptedLocale(field: string): Locale | null {
  const ranges = field.split(',', maxRanges).flatMap((part) => {
    const [name = '', weight = 'q=1'] = part.split(';', 2).map((text) => text.trim().toLowerCase());
    const quality = Number(/^q=([01](?:\.\d{0,3})?)$/.exec(weight)?.[1] ?? 0);
    return quality === 0 ? [] : [{ name, quality }];
  });
  const sorted = ranges.toSorted((a, b) => b.quality - a.quality);
  for (const { name } of sorted) {
    if (name === 'zh' || name.startsWith('zh-')) return 'zh-CN';
    if (name === 'en' || name.startsWith('en-')) return 'en';
  }
  return null;
}

/** The cookie that keeps the language which `?lang=` chooses for the pages that follow; empty: none is chosen. */
export function languageCookies({ query }: Visit): readonly string[] {
  const chosen = findLocale(query.get('lang'));
  if (chosen === null) return [];
  return [`${cookieName}=${chosen}; Path=/ui/; Max-Age=31536000; Secure; HttpOnly; SameSite=Strict`];
}
