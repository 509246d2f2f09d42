import type { ResponseEdits } from '../upstream/response-headers.ts';
import type { Exchange } from './exchange.ts';
import type { PublicNames } from './public-names.ts';

/** Chooses the edits of upstream's answer, from what is known of the request at that moment. */
export type EditsFor = (exchange: Exchange) => ResponseEdits;

const plainBlob = { 'Content-Type': 'application/octet-stream', 'X-Content-Type-Options': 'nosniff' };

export function createEditsFor({
  publicNames,
  ownsCors,
  outerPath,
  hidesBlobTypes = false,
}: {
  readonly publicNames: PublicNames;
  /** See ResponseEdits. */
  readonly outerPath?: (path: string) => string;
  /** Whether blobs are of no type that a browser shows: someone else fills the registry. */
  readonly hidesBlobTypes?: boolean;
  /** See ResponseEdits. */
  readonly ownsCors: boolean;
}): EditsFor {
  return (exchange) => ({
    set:
      hidesBlobTypes && exchange.operation?.kind === 'blob'
        ? { ...exchange.answerHeaders, ...plainBlob }
        : exchange.answerHeaders,
    names: publicNames.locationNames(exchange),
    ownsCors,
    ...(outerPath && !exchange.isByHost ? { outerPath } : {}),
    // One says its own rights: no scope and no rule would bound who holds it.
    passesV1Tokens: exchange.principal.kind === 'user',
    mayHaveTrailers: false,
  });
}
