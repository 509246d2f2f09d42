import type { Command } from 'commander';
import { promptHidden, readFirstLine } from '../auth/password/password-prompt.ts';
import { OperatorError } from '../system/operator-error.ts';

export type PasswordOption = { readonly passwordStdin?: true | undefined };

/** Does not matter for a pipe; on a terminal it reads the password visibly. */
export function addPasswordOption(command: Command): Command {
  return command.option(
    '--password-stdin',
    'read the password from the standard input, as is done anyway where that is no terminal',
  );
}

/** Prompts on a terminal (once per question), else reads one line of standard input. */
export async function readPassword(
  questions: readonly string[],
  { passwordStdin }: PasswordOption,
): Promise<string> {
  if (passwordStdin === true || !process.stdin.isTTY) return readFirstLine(process.stdin);
  const answers = await promptHidden(questions, { input: process.stdin, output: process.stderr });
  // 128 + SIGINT, as the shell would report it: in raw mode Ctrl-C arrives as a character.
  if (answers === undefined) process.exit(130);
  const [password = ''] = answers;
  if (answers.some((answer) => answer !== password)) {
    throw new OperatorError('The two passwords are not the same: nothing was changed.');
  }
  return password;
}
