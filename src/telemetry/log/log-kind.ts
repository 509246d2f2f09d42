/** What a line is about: a client's request, a change of what the registry has, or anything else. */
export type LogKind = 'access' | 'audit' | 'error';

/** Every other message is of kind `error`, whatever its level. */
const kindByMessage: ReadonlyMap<unknown, LogKind> = new Map([
  ['request', 'access'],
  ['bad request', 'access'],
  ['push', 'audit'],
  ['delete', 'audit'],
]);

/** The rule by which lines are parted into files: by their message alone. */
export function kindOfLine(message: unknown): LogKind {
  return kindByMessage.get(message) ?? 'error';
}
