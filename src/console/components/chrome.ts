import type { Formats } from '../messages/formats.ts';
import type { Messages } from '../messages/en.ts';
import type { Locale } from '../messages/locale.ts';
import type { Notice } from './notice.tsx';

/** What every page knows beside its own subject. */
export type Chrome = {
  readonly t: Messages;
  readonly f: Formats;
  readonly locale: Locale;
  readonly visitor: { readonly name: string; readonly kind: 'user' | 'token' } | null;
  /** Which parts the visitor may see; the others are left out of the navigation. */
  readonly sections: { readonly repositories: boolean; readonly clean: boolean };
  /** Goes into every form that changes something; empty without a session. */
  readonly csrf: string;
  /** The registry as it stands in names of images: HOST or HOST:PORT. */
  readonly host: string;
  /** Path and query of this page, below /ui/, for the links to other languages. */
  readonly path: string;
  readonly nowMs: number;
  readonly assets: { readonly icon: string; readonly style: string; readonly script: string };
  /** What the request before this page did. */
  readonly notice: Notice | null;
};
