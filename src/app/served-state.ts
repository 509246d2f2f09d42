import type { Config } from '../config/schema/schema.ts';
import type { PemFiles } from './pem-files.ts';

/** The state that is served: a checked configuration, and the content of its PEM files. */
export type ServedState = { readonly config: Config; readonly pem: PemFiles };

/** `rereads`: also rereads the htpasswd file and that of machine tokens, which are otherwise followed separately. */
export type PrepareOptions = { readonly rereads: boolean };

/** A prepared state. Call exactly one of commit() and abandon(). */
export type PreparedState = {
  /** Keys whose files have changed, beyond what the state says. */
  readonly changed: readonly string[];
  /** New connections and requests use it from now on; those in progress keep the old state. */
  commit(): void;
  abandon(): Promise<void>;
};
