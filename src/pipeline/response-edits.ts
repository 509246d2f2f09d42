import type { ResponseEdits } from '../upstream/response-headers.ts';
import type { Exchange } from './exchange.ts';
import type { PublicNames } from './public-names.ts';

/** Chooses the edits of upstream's answer, from what is known of the request at that moment. */
export type EditsFor = (exchange: Exchange) => ResponseEdits;

const plainBlob = { 'Content-Type': 'application/octet-stream', 'X-Content-Type-Options': 'nosniff' };

/** Fields about an answer itself, not about the site (cookies, HSTS, policies), which others share. */
const aboutAnswer =
  /^(?:accept-ranges|access-control-.*|age|allow|cache-control|content-.*|date|docker-.*|etag|expires|last-modified|link|location|oci-.*|range|retry-after|server|trailer|vary|via|warning|x-content-type-options)$/;
const notAboutAnswer: ReadonlySet<string> = new Set([
  'content-security-policy',
  'content-security-policy-report-only',
]);
const concernsImages = (name: string) => aboutAnswer.test(name) && !notAboutAnswer.has(name);

export function createEditsFor({
  publicNames,
  ownsCors,
  outerPath,
  isOfRoute = false,
  hidesBlobTypes = false,
}: {
  readonly publicNames: PublicNames;
  /** See ResponseEdits. */
  readonly outerPath?: (path: string) => string;
  /** Whether the registry is that of a route: it says what concerns images, and nothing about the whole site. */
  readonly isOfRoute?: boolean;
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
    ...(outerPath && exchange.outerName === null ? { outerPath } : {}),
    // One says its own rights: no scope and no rule would bound who holds it.
    passesV1Tokens: exchange.principal.kind === 'user' && !isOfRoute,
    ...(isOfRoute ? { passes: concernsImages } : {}),
    mayHaveTrailers: false,
  });
}
