import type { Operation } from './operation.ts';

/** The kind of a request in log and metrics. */
export type RouteLabel =
  'open' | 'version-check' | 'manifest' | 'blob' | 'misnamed' | 'registry' | 'outside' | 'token' | 'console';

/** `blob` is a read of a blob; `registry` is any request without a kind of its own. */
export function routeLabelOf(operation: Operation): RouteLabel {
  switch (operation.kind) {
    case 'open':
    case 'version-check':
    case 'manifest':
    case 'misnamed':
    case 'console':
    case 'outside':
      return operation.kind;
    case 'blob':
      return operation.reads && operation.stored !== null ? 'blob' : 'registry';
    default:
      return 'registry';
  }
}
