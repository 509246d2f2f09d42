import type { ResponseEdits } from '../upstream/response-headers.ts';
import type { Exchange } from './exchange.ts';
import type { PublicNames } from './public-names.ts';

/** Chooses the edits of upstream's answer, from what is known of the request at that moment. */
export type EditsFor = (exchange: Exchange) => ResponseEdits;

const plainBlob = { 'Content-Type': 'application/octet-stream' };
/** Whatever the registry calls it, no browser runs anything of it as a page of this site, where the console is. */
const noPage = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
  'X-Content-Type-Options': 'nosniff',
};

/** Fields about an answer itself, not about the site (cookies, HSTS, policies), which others share. */
const aboutAnswer =
  /^(?:accept-ranges|access-control-.*|age|allow|cache-control|content-.*|date|docker-.*|etag|expires|last-modified|link|location|oci-.*|range|retry-after|server|trailer|vary|via|warning)$/;
const notAboutAnswer: ReadonlySet<string> = new Set([
  // It may have an inner name.
  'content-location',
  'content-security-policy',
  'content-security-policy-report-only',
]);
const samePath = (path: string) => path;
const concernsImages = (name: string) => aboutAnswer.test(name) && !notAboutAnswer.has(name);

export function createEditsFor({
  publicNames,
  ownsCors,
  route,
}: {
  readonly publicNames: PublicNames;
  /** See ResponseEdits. */
  readonly ownsCors: boolean;
  /** How the registry of a route is edited; null: it is `upstream`. */
  readonly route: {
    /** See ResponseEdits. */
    readonly outerPath: (path: string) => string;
    /** Someone else fills a mirror, so its blobs are of no type that a browser shows. */
    readonly isMirror: boolean;
  } | null;
}): EditsFor {
  if (route !== null) return createRouteEdits(publicNames, ownsCors, route);
  return (exchange) => ({
    set: exchange.answerHeaders,
    names: publicNames.locationNames(exchange),
    ownsCors,
    // One says its own rights: no scope and no rule would bound who holds it.
    passesV1Tokens: exchange.principal.kind === 'user',
  });
}

function createRouteEdits(
  publicNames: PublicNames,
  ownsCors: boolean,
  { outerPath, isMirror }: { readonly outerPath: (path: string) => string; readonly isMirror: boolean },
): EditsFor {
  return (exchange) => ({
    set: Object.assign(
      {},
      exchange.answerHeaders,
      noPage,
      isMirror && exchange.operation?.kind === 'blob' ? plainBlob : undefined,
    ),
    names: publicNames.locationNames(exchange),
    ownsCors,
    outerPath: exchange.outerName === null ? outerPath : samePath,
    passes: concernsImages,
    passesV1Tokens: false,
  });
}
