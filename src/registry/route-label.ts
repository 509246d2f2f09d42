import type { Operation } from './operation.ts';

/** The name of a request's kind in log and metrics. */
export type RouteLabel =
  'open' | 'version-check' | 'manifest' | 'blob' | 'misnamed' | 'registry' | 'outside' | 'token';

/** Names it: `blob` is a blob's bytes, or whether they are there; `registry` whatever has no name of its own. */
export function routeLabelOf(operation: Operation): RouteLabel {
  switch (operation.kind) {
    case 'open':
    case 'version-check':
    case 'manifest':
    case 'misnamed':
    case 'outside':
      return operation.kind;
    case 'blob':
      return operation.reads && operation.stored !== null ? 'blob' : 'registry';
    default:
      return 'registry';
  }
}
