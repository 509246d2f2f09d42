import type { Config } from '../config/schema/schema.ts';
import type { PemFiles } from './pem-files.ts';

/** What is served by: a checked configuration, and what is in the PEM files that it names. */
export type ServedState = { readonly config: Config; readonly pem: PemFiles };

/** `rereads`: the htpasswd file is read anew, too; it is followed by itself otherwise. */
export type PrepareOptions = { readonly rereads: boolean };

/** A state that is ready to be served by. One of the two is to be called. */
export type PreparedState = {
  /** Keys whose files have other content, beyond what the state says. */
  readonly changed: readonly string[];
  /** New connections and new requests are served by it from now on; those under way end as they began. */
  commit(): void;
  abandon(): Promise<void>;
};
