import type { X509Certificate } from 'node:crypto';
import type { Resolution } from './connection/addresses.ts';
import type { Check } from '../check.ts';
import type { VersionCheck } from './challenge.ts';
import type { Finding } from '../finding.ts';
import type { Handshake } from './connection/handshake.ts';
import type { Sender } from './http-sender.ts';
import type { Target } from './target.ts';
import type { Trust } from './connection/trust.ts';

/** What to check, as which user, and with which CAs. */
export type ClientOptions = {
  readonly target: Target;
  readonly trust: Trust;
  /** PEM, for a server that demands client certificates. */
  readonly clientCertificate: { readonly cert: string; readonly key: string } | null;
  readonly login: { readonly name: string; readonly password: string } | null;
  readonly repository: string;
  /** auth.versionCheck, where the configuration is known; null elsewhere. */
  readonly versionCheck: VersionCheck | null;
  /** The configured certificate; null if unknown. */
  readonly onDisk: { readonly leaf: X509Certificate; readonly path: string } | null;
  readonly nowMs: () => number;
};

/** What a check requires. */
export type Need = 'nothing' | 'address' | 'tls' | 'http' | 'login';

/** Results of checks that later ones need. */
export type Found = {
  resolution?: Resolution;
  address?: string;
  handshake?: Handshake;
  isVerified: boolean;
  send?: Sender;
};

/** A check that uses results of earlier ones. */
export type ClientCheck = Omit<Check, 'run'> & {
  readonly needs: Need;
  readonly run: (found: Required<Found>, signal: AbortSignal) => Promise<readonly Finding[]>;
};

/** The hint for a failure on the way. */
export const wayOut = 'journalctl -u tidegate says what it saw';
