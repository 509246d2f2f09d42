/** The kind of a line: a client's request, a change that somebody made, or anything else. */
export type LogKind = 'access' | 'audit' | 'error';

/** Every other message is of kind `error`, whatever its level. */
const kindByMessage: ReadonlyMap<unknown, LogKind> = new Map([
  ['request', 'access'],
  ['bad request', 'access'],
  ['push', 'audit'],
  ['delete', 'audit'],
  ['console change', 'audit'],
]);

/** Decides the file of a line, by its message alone. */
export function kindOfLine(message: unknown): LogKind {
  return kindByMessage.get(message) ?? 'error';
}
