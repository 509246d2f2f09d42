import type { VNode } from 'preact';
import type { Authentication } from '../pipeline/authenticate/authenticate.ts';
import type { Exchange } from '../pipeline/exchange.ts';
import type { ConsoleAnswer } from './console-answer.ts';
import type { FailureKind } from './console-error.ts';
import type { RegistryClient } from './registry/registry-client.ts';
import type { Session } from './session/sessions.ts';

/** A request to a page, and what is known of the visitor. */
export type Visit = {
  readonly exchange: Exchange;
  /** What follows `/ui/`, decoded. */
  readonly page: string;
  readonly query: URLSearchParams;
  /** Null: the browser has none that is good. */
  readonly session: Session | null;
  /** Null: who has not logged in may see nothing but public pages. */
  readonly authentication: Authentication | null;
  /** Asks the registry with the visitor's rights. */
  readonly registry: RegistryClient;
  /** What goes into each form of the page as `csrf`; empty: there is no session. */
  readonly formToken: string;
};

/** A visit that sent a form, which was checked. */
export type FormVisit = Visit & { readonly form: URLSearchParams };

/** A kind of pages. */
export type Place = {
  /** Of what follows `/ui/`. */
  readonly pattern: RegExp;
  /** Whether it is shown to those who are nobody to the policy, too. */
  readonly isPublic?: boolean;
  readonly get?: (visit: Visit) => ConsoleAnswer | Promise<ConsoleAnswer>;
  readonly post?: (visit: FormVisit) => ConsoleAnswer | Promise<ConsoleAnswer>;
};

/** What the page of the login shows. */
export type ShownLogin = {
  /** A path below `/ui/` to go to afterwards. */
  readonly returnTo: string;
  /** The name that was tried. */
  readonly name: string;
  readonly failure: LoginFailure | null;
};

export type LoginFailure =
  | { readonly kind: 'wrong' }
  | { readonly kind: 'lockedOut'; readonly seconds: number }
  | { readonly kind: 'busy' }
  /** The session is over. */
  | { readonly kind: 'expired' };

/** What a console shows. */
export type ConsolePages = {
  readonly places: readonly Place[];
  /** Says what failed. */
  readonly failure: (visit: Visit, kind: FailureKind) => VNode;
  readonly login: (visit: Visit, login: ShownLogin) => VNode;
};
