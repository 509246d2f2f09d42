import { InvalidArgumentError, type Command } from 'commander';
import { checkUserName } from '../auth/htpasswd/htpasswd-editor.ts';
import { diagnose } from '../doctor/doctor.ts';
import { formatJsonReport, formatReport, isAnyBroken } from '../doctor/report.ts';
import { parseTarget, type Target } from '../doctor/client/target.ts';
import { OperatorError } from '../system/operator-error.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';
import { addPasswordOption, readPassword, type PasswordOption } from './password.ts';

type Options = PasswordOption & {
  readonly config?: string;
  readonly flavor?: string;
  readonly set: readonly string[];
  readonly user?: string;
  readonly ca?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly repository: string;
  readonly json?: true;
};

/** Adds `doctor`: checks Tidegate as a client and as its operator, and says how to fix what is wrong. */
export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description(
      'find out what is wrong with a running Tidegate, and how to fix it; exits with 1 when something is broken',
    )
    .argument(
      '[url]',
      'https://HOST[:PORT] that clients use (default: what the configuration describes)',
      asUsage(parseTarget),
    );
  addConfigOptions(command).option(
    '--user <name>',
    'user whose password is tried (asked for, or one line on the standard input); without one nothing is uploaded',
    asUsage(parseUser),
  );
  addPasswordOption(command)
    .option('--ca <file>', 'PEM file of the CA to verify the certificate with, and no other')
    .option('--client-cert <file>', 'PEM file of a client certificate, for a server that demands one')
    .option('--client-key <file>', 'PEM file of its key')
    .option(
      '--repository <name>',
      'repository to try uploads in',
      asUsage(parseRepository),
      'tidegate-doctor',
    )
    .option('--json', 'print JSON')
    .action((target: Target | undefined) => runDoctor(target, command));
}

async function runDoctor(target: Target | undefined, command: Command): Promise<void> {
  const { user, passwordStdin, ca, clientCert, clientKey, repository, json, ...config } =
    command.opts<Options>();
  if (passwordStdin === true && user === undefined)
    command.error('error: --password-stdin needs --user NAME');
  if ((clientCert === undefined) !== (clientKey === undefined)) {
    command.error('error: --client-cert and --client-key belong together');
  }
  const password = user === undefined ? '' : await readPassword([`Password of ${user}: `], { passwordStdin });
  if (user !== undefined && password === '') {
    command.error(
      'error: no password was given: pipe one line in (--password-stdin), or run this on a terminal',
    );
  }
  const progress = createProgress();
  const diagnosis = await diagnose({
    sources: readConfigOptions(command),
    namesConfig: config.config !== undefined || config.flavor !== undefined || config.set.length > 0,
    target: target ?? null,
    login: user === undefined ? null : { name: user, password },
    repository,
    caPath: ca,
    clientCertificatePaths:
      clientCert === undefined || clientKey === undefined ? null : { cert: clientCert, key: clientKey },
    nowMs: Date.now,
    onStart: progress.show,
  });
  progress.end();
  const isColoured = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  const report = json === true ? formatJsonReport(diagnosis) : formatReport(diagnosis, isColoured);
  // A name server that does not answer would keep the process alive beyond the time limit.
  process.stdout.write(report, () => process.exit(isAnyBroken(diagnosis) ? 1 : 0));
}

/** Shows the current check on one line of a terminal. */
function createProgress(): { readonly show: (id: string) => void; readonly end: () => void } {
  const { stderr } = process;
  const write = (text: string) => {
    if (stderr.isTTY) stderr.write(`\r\u001B[K${text}`);
  };
  return { show: (id) => write(`looking at ${id} …`), end: () => write('') };
}

function parseUser(name: string): string {
  checkUserName(name);
  return name;
}

/** The distribution-spec's grammar of names. */
function parseRepository(name: string): string {
  const part = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
  if (name.length > 200 || !new RegExp(`^${part}(?:/${part})*$`).test(name)) {
    throw new OperatorError('A repository is named in lower case, as in team/app.');
  }
  return name;
}

/** An invalid argument is wrong usage, not failed work. */
function asUsage<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw error instanceof OperatorError ? new InvalidArgumentError(error.message) : error;
    }
  };
}
