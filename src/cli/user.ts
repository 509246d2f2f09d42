import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { explainReadError, readHtpasswdText } from '../auth/htpasswd/htpasswd-content.ts';
import { addUser, checkUserName, removeUser } from '../auth/htpasswd/htpasswd-editor.ts';
import { parseHtpasswd } from '../auth/htpasswd/htpasswd.ts';
import type { Htpasswd } from '../auth/htpasswd/htpasswd.ts';
import { verifyPassword } from '../auth/password/password-hash.ts';
import { removeTokensOf } from '../auth/machine-tokens/token-list-editor.ts';
import { checkGrantPattern } from '../policy/token-grants.ts';
import { OperatorError } from '../system/operator-error.ts';
import { addPasswordOption, readPassword, type PasswordOption } from './password.ts';

type FileOption = { file: string };

/** The defaults of auth.maxBcryptCost and auth.maxShaCryptRounds; no configuration is read to edit a file. */
const limits = { maxBcryptCost: 14, maxShaCryptRounds: 500_000 };

/** Adds `user add|remove|list|verify` to the program. */
export function addUserCommand(program: Command): void {
  const user = program.command('user').description('edit the htpasswd file: who may log in');

  addPasswordOption(withFile(user.command('add').argument('<name>', 'user name')))
    .description('add a user or set a new password (asked for, or one line on the standard input)')
    .action(async (name: string, { file, ...input }: FileOption & PasswordOption) => {
      checkUserName(name);
      const password = await readPassword(['New password: ', 'Again: '], input);
      const outcome = await addUser({ file, name, password });
      print(
        outcome === 'added' ? `Added ${name} to ${file}.` : `Changed the password of ${name} in ${file}.`,
      );
    });

  withFile(user.command('remove').argument('<name>', 'user name'))
    .description('remove a user, and revoke the machine tokens that he or she owns')
    .option('--tokens <file>', 'file of machine tokens (default: tokens.yml beside the htpasswd file)')
    .action(async (name: string, { file, tokens }: FileOption & { tokens?: string }) => {
      await removeUser({ file, name });
      print(`Removed ${name} from ${file}.`);
      await revokeTokens(name, tokens ?? join(dirname(file), 'tokens.yml'), file);
    });

  withFile(user.command('list'))
    .description('list the users with the kind of their password hash, and the lines that never match')
    .action(async ({ file }: FileOption) => {
      const { entries, problems } = await loadHtpasswd(file);
      const width = Math.max(0, ...[...entries.keys()].map((name) => name.length)) + 2;
      for (const [name, { kind }] of entries) print(`${name.padEnd(width)}${kind}`);
      for (const { line, reason } of problems) print(`(line ${line} is not used: ${reason})`);
    });

  addPasswordOption(withFile(user.command('verify').argument('<name>', 'user name')))
    .description('check a password (asked for, or one line on the standard input)')
    .action(async (name: string, { file, ...input }: FileOption & PasswordOption) => {
      const entry = (await loadHtpasswd(file)).entries.get(name);
      const password = await readPassword(['Password: '], input);
      if (entry === undefined) throw new OperatorError(`There is no user ${name} in ${file} who can log in.`);
      if (!verifyPassword(password, entry.hash)) {
        throw new OperatorError(`This is not the password of ${name} in ${file}.`);
      }
      print(`This is the password of ${name} in ${file}.`);
    });
}

/** The tokens of a user who is gone are refused as it is; without them, nobody of that name who comes later gets them. */
async function revokeTokens(owner: string, file: string, model: string): Promise<void> {
  if (!existsSync(file)) return;
  try {
    const revoked = await removeTokensOf({ file, model, checkPattern: checkGrantPattern }, owner);
    for (const token of revoked) print(`Revoked the machine token ${token} of ${owner} in ${file}.`);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    throw new OperatorError(
      `The machine tokens of ${owner} were not revoked, and stay refused only as long as there is no such user: ${error.message}`,
    );
  }
}

function withFile(command: Command): Command {
  return command.option('--file <file>', 'htpasswd file', 'config/htpasswd');
}

async function loadHtpasswd(file: string): Promise<Htpasswd> {
  try {
    return parseHtpasswd(await readHtpasswdText(file), limits);
  } catch (error) {
    throw explainReadError(file, error);
  }
}

/** Names come from a file that others may write: an escape sequence in one must not reach the terminal. */
function print(line: string): void {
  process.stdout.write(line.replace(/\p{Cc}/gu, '\uFFFD') + '\n');
}
