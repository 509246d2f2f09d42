/**
 * A failure that the operator can fix. The message is one plain sentence (or one line per problem) that says what is
 * wrong, where, and what to do. Printed on stderr without a stack; the program exits with 1.
 */
export class OperatorError extends Error {
  override readonly name = 'OperatorError';
}
