import { request } from 'node:http';
import type { Command } from 'commander';
import { loadConfig } from '../config/load/load.ts';
import { refuseUpgrade } from '../system/unasked-upgrade.ts';
import { OperatorError } from '../system/operator-error.ts';
import type { ReloadOutcome } from '../admin/admin.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';

/** Adds `reload`: makes the running Tidegate reload its configuration and files, and prints the result. */
export function addReloadCommand(program: Command): void {
  const command = program
    .command('reload')
    .description('check the configuration, and make the running Tidegate reload it and its files');
  addConfigOptions(command).action(async () => {
    const { config } = await loadConfig(readConfigOptions(command));
    const outcome = parseOutcome(await post(findAdmin(config.admin)));
    if (!outcome.ok)
      throw new OperatorError(`Refused: the previous configuration stays in effect. ${outcome.sentence}`);
    process.stdout.write(formatOutcome(outcome));
  });
}

/** The time limit: under load, password checks may come first, and all workers must agree. In milliseconds. */
const answerTimeoutMs = 60_000;
const maxAnswerBytes = 1024 * 1024;
const otherWays = 'send SIGHUP to the first process of "tidegate serve", or "systemctl reload tidegate"';

type Admin = { readonly host: string; readonly port: number };

/** The address of the admin listener, seen from this machine. */
function findAdmin({ host, port }: { readonly host: string; readonly port: number | null }): Admin {
  if (port === null)
    throw new OperatorError(`admin.port is null, so the running Tidegate cannot be reached: ${otherWays}.`);
  if (port === 0) throw new OperatorError(`admin.port is 0, so the port is not known here: ${otherWays}.`);
  const everywhere: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: everywhere[host] ?? host, port };
}

function post({ host, port }: Admin): Promise<string> {
  const where = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const fail = (reason: string) =>
      reject(
        new OperatorError(
          `Tidegate cannot be reached at ${where} (${reason}): is it running, and with this configuration? Else ${otherWays}.`,
        ),
      );
    const asked = request(
      { host, port, path: '/reload', method: 'POST', headers: { 'Content-Length': 0 }, agent: false },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > maxAnswerBytes) answer.destroy(new Error('its answer is too long'));
        });
        answer.on('error', (error) => fail(error.message));
        answer.on('end', () => {
          if (answer.statusCode === 200 || answer.statusCode === 422) resolve(text);
          else fail(`it answered ${answer.statusCode ?? 'nothing'}`);
        });
      },
    );
    asked.setTimeout(answerTimeoutMs, () => asked.destroy(new Error('no answer')));
    asked.on('error', (error) => fail(error.message));
    refuseUpgrade(asked);
    asked.end();
  });
}

function parseOutcome(text: string): ReloadOutcome {
  try {
    const outcome = JSON.parse(text) as ReloadOutcome;
    if (outcome.ok ? Array.isArray(outcome.changed) : typeof outcome.sentence === 'string') return outcome;
  } catch {
    // reported below
  }
  throw new OperatorError('Another program answered: check admin.host and admin.port.');
}

function formatOutcome({ changed, needRestart }: Extract<ReloadOutcome, { ok: true }>): string {
  return [
    changed.length > 0
      ? `Reloaded: ${changed.join(', ')}.`
      : 'Reloaded; what the files say was already in effect.',
    ...(needRestart.length > 0 ? [`Unchanged until the next start: ${needRestart.join(', ')}.`] : []),
    '',
  ].join('\n');
}
