import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { readHtpasswdText } from '../auth/htpasswd/htpasswd-content.ts';
import { parseHtpasswd } from '../auth/htpasswd/htpasswd.ts';
import { createMachineToken, hashMachineToken } from '../auth/machine-tokens/machine-token.ts';
import {
  addToken,
  checkTokenName,
  removeToken,
  replaceToken,
} from '../auth/machine-tokens/token-list-editor.ts';
import { loadTokenList } from '../auth/machine-tokens/token-list-file.ts';
import { tokenActions, type TokenEntry } from '../auth/machine-tokens/token-list.ts';
import { readTokenUses, usesPathOf, type TokenUse } from '../auth/machine-tokens/token-uses.ts';
import { parseDuration } from '../config/schema/types/units.ts';
import { checkGrantPattern } from '../policy/token-grants.ts';
import { OperatorError } from '../system/operator-error.ts';
import { printable } from '../telemetry/log/printable.ts';
import { formatTable } from './table.ts';

type FileOptions = { readonly file: string; readonly htpasswd?: string };
type Action = (typeof tokenActions)[number];
type CreateOptions = FileOptions & {
  readonly repositories: readonly string[];
  readonly actions: readonly Action[];
  readonly expires?: number;
  readonly user?: string;
};

const minLifetimeMs = 60_000;
const maxLifetimeMs = 3650 * 24 * 60 * 60 * 1000;
/** The defaults of auth.maxBcryptCost and auth.maxShaCryptRounds; no configuration is read to edit a file. */
const limits = { maxBcryptCost: 14, maxShaCryptRounds: 500_000 };

/** Adds `token create|list|revoke|rotate` to the program. */
export function addTokenCommand(program: Command): void {
  const token = program
    .command('token')
    .description('make, list and revoke machine tokens: logins for pipelines, with scopes and an expiry');

  withHtpasswd(withFile(token.command('create').argument('<name>', 'what `docker login -u` is given')))
    .description('make a machine token and print it, once')
    .addOption(
      new Option('--repositories <patterns>', 'where it may act, such as team-a/**,base/*')
        .argParser(parsePatterns)
        .default(['**'], 'everywhere'),
    )
    .addOption(
      new Option('--actions <actions>', `what it may do, of ${tokenActions.join(',')}`)
        .argParser(parseActions)
        .default(['pull'], 'pull'),
    )
    .option('--expires <duration>', 'how long it is good, such as 90d (default: for ever)', parseLifetime)
    .option('--user <owner>', 'a user beyond whose rights it may do nothing, and without whom it ends')
    .action(create);

  withFile(token.command('list'))
    .description('list the machine tokens: owner, scopes, expiry, day and address of the last use')
    .action(list);

  withFile(token.command('revoke').argument('<name>', 'name of the token'))
    .description('end a machine token, at once')
    .action(async (name: string, { file }: FileOptions) => {
      await removeToken(editing(file), name);
      say(`Revoked ${name} in ${file}.`);
    });

  withFile(token.command('rotate').argument('<name>', 'name of the token'))
    .description(
      'print another token in place of the present one, which ends at once; scopes and lifetime stay',
    )
    .option(
      '--expires <duration>',
      'how long the new one is good (default: as long as the one before)',
      parseLifetime,
    )
    .action(rotate);
}

async function create(name: string, options: CreateOptions): Promise<void> {
  const { file, repositories, actions, expires, user: owner = null } = options;
  checkTokenName(name);
  await checkUsers(name, owner, options);
  const token = createMachineToken();
  const createdMs = Date.now();
  const entry: TokenEntry = {
    principal: { kind: 'token', name, grant: { repositories, actions, owner } },
    sha256: hashMachineToken(token),
    createdMs,
    expiresMs: expires === undefined ? null : createdMs + expires,
  };
  await addToken(editing(file, options), entry);
  note(`Made the machine token ${name} in ${file}: ${describeScopes(entry)}, ${describeExpiry(entry)}.`);
  if (expires === undefined)
    note('A token without an expiry is good until it is revoked: --expires 90d sets one.');
  announce(name, token);
}

async function rotate(name: string, { file, expires }: FileOptions & { expires?: number }): Promise<void> {
  const token = createMachineToken();
  const createdMs = Date.now();
  let renewed: TokenEntry | undefined;
  await replaceToken(editing(file), name, (entry) => {
    const lifetimeMs = expires ?? lifetimeOf(file, entry);
    renewed = {
      ...entry,
      sha256: hashMachineToken(token),
      createdMs,
      expiresMs: lifetimeMs === null ? null : createdMs + lifetimeMs,
    };
    return renewed;
  });
  if (renewed)
    note(`Rotated ${name} in ${file}: the token before it has ended; this one ${describeExpiry(renewed)}.`);
  announce(name, token);
}

/** Null: it never expires. */
function lifetimeOf(file: string, { principal, createdMs, expiresMs }: TokenEntry): number | null {
  if (expiresMs === null) return null;
  if (createdMs !== null && expiresMs > createdMs) return expiresMs - createdMs;
  throw new OperatorError(
    `How long ${principal.name} was meant to be good cannot be told from ${file}: say it with --expires, such as --expires 90d.`,
  );
}

async function list({ file }: FileOptions): Promise<void> {
  if (!existsSync(file)) note(`There is no ${file}: no machine token has been made there.`);
  const { list: tokens } = await loadTokenList(file, checkGrantPattern);
  const uses = await readTokenUses(usesPathOf(file));
  const rows = [...tokens.entries.values()].map((entry) => {
    const { name, grant } = entry.principal;
    return [
      name,
      grant.owner ?? '-',
      describeScopes(entry),
      describeExpiry(entry),
      describeUse(uses.used.get(name)),
    ];
  });
  if (rows.length > 0) {
    for (const line of formatTable([['name', 'owner', 'scopes', 'expiry', 'last use'], ...rows])) say(line);
  }
  for (const { line, reason } of tokens.problems) say(`(line ${line} is not used: ${reason})`);
}

/** @throws OperatorError when the name is that of a user, or there is no such owner */
async function checkUsers(name: string, owner: string | null, options: FileOptions): Promise<void> {
  const htpasswd = htpasswdOf(options);
  if (owner === null && !existsSync(htpasswd)) return;
  const users = await readUsers(htpasswd);
  if (users.has(name))
    throw new OperatorError(
      `There is a user ${name} in ${htpasswd}: choose another name, so that a log tells the two apart.`,
    );
  if (owner !== null && !users.has(owner))
    throw new OperatorError(
      `There is no user ${owner} in ${htpasswd} who can log in: a token ends with its owner. Name another with --user, or another file with --htpasswd.`,
    );
}

async function readUsers(htpasswd: string): Promise<ReadonlySet<string>> {
  try {
    return new Set(parseHtpasswd(await readHtpasswdText(htpasswd), limits).entries.keys());
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OperatorError(
      `The users in ${htpasswd} cannot be read: ${reason}. Name their file with --htpasswd.`,
    );
  }
}

function editing(file: string, options: FileOptions = { file }) {
  return { file, model: htpasswdOf(options), checkPattern: checkGrantPattern };
}

function htpasswdOf({ file, htpasswd }: FileOptions): string {
  return htpasswd ?? join(dirname(file), 'htpasswd');
}

function withFile(command: Command): Command {
  return command.option('--file <file>', 'file of machine tokens', 'config/tokens.yml');
}

function withHtpasswd(command: Command): Command {
  return command.option('--htpasswd <file>', 'htpasswd file (default: htpasswd beside the file of tokens)');
}

function parsePatterns(text: string): string[] {
  const patterns = text.split(',');
  for (const pattern of patterns) {
    try {
      checkGrantPattern(pattern);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new InvalidArgumentError(`${JSON.stringify(pattern.slice(0, 60))} ${error.message}.`);
    }
  }
  return [...new Set(patterns)];
}

function parseActions(text: string): Action[] {
  const words = text.split(',');
  const wrong = words.find((word) => !tokenActions.some((action) => action === word));
  if (wrong !== undefined) throw new InvalidArgumentError(`Write some of ${tokenActions.join(',')}.`);
  return tokenActions.filter((action) => words.includes(action));
}

function parseLifetime(text: string): number {
  try {
    const ms = parseDuration(text);
    if (ms >= minLifetimeMs && ms <= maxLifetimeMs) return ms;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new InvalidArgumentError('Write a duration from 1m to 3650d, such as 90d or 12h.');
}

function describeScopes({ principal: { grant } }: TokenEntry): string {
  const { repositories, actions } = grant;
  return `${actions.join(',')} in ${repositories.includes('**') ? 'all repositories' : repositories.join(',')}`;
}

function describeExpiry({ expiresMs }: TokenEntry): string {
  if (expiresMs === null) return 'never expires';
  const time = `${new Date(expiresMs).toISOString().slice(0, 16)}Z`;
  return `${expiresMs <= Date.now() ? 'expired' : 'expires'} ${time}`;
}

function describeUse(use: TokenUse | undefined): string {
  return use === undefined ? '-' : `${use.day} from ${use.address}`;
}

/** The token alone goes to the standard output, so that a script can take it from there. */
function announce(name: string, token: string): void {
  note(`It is shown this once, and is the password of \`docker login -u ${name}\`:`);
  process.stdout.write(`${token}\n`);
}

function say(line: string): void {
  process.stdout.write(`${printable(line)}\n`);
}

function note(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}
