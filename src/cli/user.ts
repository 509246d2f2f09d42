import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { explainReadError, readHtpasswdText } from '../auth/htpasswd/htpasswd-content.ts';
import { addUser, checkUserName, hasUserLine, removeUser } from '../auth/htpasswd/htpasswd-editor.ts';
import { parseHtpasswd } from '../auth/htpasswd/htpasswd.ts';
import type { Htpasswd } from '../auth/htpasswd/htpasswd.ts';
import { verifyPassword } from '../auth/password/password-hash.ts';
import { hasTokenName, namesOwnedBy, removeTokensOf } from '../auth/machine-tokens/token-list-editor.ts';
import { loadTokenList } from '../auth/machine-tokens/token-list-file.ts';
import { checkGrantPattern } from '../policy/token-grants.ts';
import { OperatorError } from '../system/operator-error.ts';
import { addPasswordOption, readPassword, type PasswordOption } from './password.ts';

type FileOption = { file: string };
type TokensOption = { tokens?: string };

/** The defaults of auth.maxBcryptCost and auth.maxShaCryptRounds; no configuration is read to edit a file. */
const limits = { maxBcryptCost: 14, maxShaCryptRounds: 500_000 };

/** Adds `user add|remove|list|verify` to the program. */
export function addUserCommand(program: Command): void {
  const user = program.command('user').description('edit the htpasswd file: who may log in');

  addPasswordOption(withTokens(withFile(user.command('add').argument('<name>', 'user name'))))
    .description('add a user or set a new password (asked for, or one line on the standard input)')
    .action(async (name: string, { file, tokens, ...input }: FileOption & TokensOption & PasswordOption) => {
      checkUserName(name);
      if (!existsSync(file) || !(await hasLine(file, name))) await checkNewUser(name, tokensOf(file, tokens));
      const password = await readPassword(['New password: ', 'Again: '], input);
      const outcome = await addUser({ file, name, password });
      print(
        outcome === 'added' ? `Added ${name} to ${file}.` : `Changed the password of ${name} in ${file}.`,
      );
    });

  withTokens(withFile(user.command('remove').argument('<name>', 'user name')))
    .description('revoke the machine tokens that a user owns, and remove the user')
    .action(async (name: string, { file, tokens }: FileOption & TokensOption) => {
      const fault = await revokeTokens(name, tokensOf(file, tokens), file);
      // Also where that failed: who is to go must not stay because another file is broken.
      await removeUser({ file, name });
      print(`Removed ${name} from ${file}.`);
      if (fault) throw fault;
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

/**
 * The tokens of a user who is gone are refused as it is; without them, nobody of that name who comes later gets them. They go before the
 * user, so that a crash in between leaves none behind. Gives the error when they stay.
 */
async function revokeTokens(owner: string, file: string, model: string): Promise<OperatorError | null> {
  if (!existsSync(file)) {
    print(
      `Found no machine tokens to revoke: there is no ${file}. If they are elsewhere, name it with --tokens.`,
    );
    return null;
  }
  try {
    const revoked = await removeTokensOf({ file, model, checkPattern: checkGrantPattern }, owner);
    for (const token of revoked) print(`Revoked the machine token ${token} of ${owner} in ${file}.`);
    return null;
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return new OperatorError(
      `The machine tokens of ${owner} were not revoked, and stay refused only as long as there is no such user: ${error.message} Then run \`tidegate user remove ${owner}\` again.`,
    );
  }
}

/** @throws OperatorError when tokens of an earlier user would be the new one's, or the name is that of a token */
async function checkNewUser(name: string, file: string): Promise<void> {
  const { list } = await loadTokenList(file, checkGrantPattern);
  const left = namesOwnedBy(list, name);
  if (left.length > 0)
    throw new OperatorError(
      `An earlier user ${name} has left machine tokens in ${file} (${left.join(', ')}): revoke them with \`tidegate user remove ${name}\` first, or the new user would own them.`,
    );
  if (hasTokenName(list, name))
    throw new OperatorError(
      `There is a machine token ${name} in ${file}: choose another name, so that a log tells the two apart.`,
    );
}

async function hasLine(file: string, name: string): Promise<boolean> {
  try {
    return await hasUserLine(file, name);
  } catch (error) {
    throw explainReadError(file, error);
  }
}

function tokensOf(file: string, tokens: string | undefined): string {
  return tokens ?? join(dirname(file), 'tokens.yml');
}

function withTokens(command: Command): Command {
  return command.option(
    '--tokens <file>',
    'file of machine tokens (default: tokens.yml beside the htpasswd file)',
  );
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
