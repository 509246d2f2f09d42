import { en, type Messages } from './en.ts';
import { createFormats, type Formats } from './formats.ts';
import { zh } from './zh.ts';

/** The languages of the console, as `lang` attributes name them. */
export const locales = ['en', 'zh-CN'] as const;
export type Locale = (typeof locales)[number];

/** What each language calls itself. */
export const languageNames: Readonly<Record<Locale, string>> = { en: 'English', 'zh-CN': '简体中文' };

export const catalogues: Readonly<Record<Locale, Messages>> = { en, 'zh-CN': zh };
export const formats: Readonly<Record<Locale, Formats>> = {
  en: createFormats('en'),
  'zh-CN': createFormats('zh-CN'),
};
