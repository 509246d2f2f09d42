import { askCleaner, type CleanListener } from '../../clean/server/clean-client.ts';
import type { CleanCommand, CommandEnd } from '../../clean/server/messages.ts';
import { isCleaned } from '../../config/schema/is-cleaned.ts';
import type { Config } from '../../config/schema/schema.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { createPrinter } from './printer.ts';
import { createProgressLine } from './progress-line.ts';

/**
 * Has the running cleaner do a command, and prints what it says. Null: none is running. One that runs is asked even where
 * upstream.storage is not in the file: that of `npm start` gets it by --set.
 *
 * Ctrl-C during a command that changes something ends it at its next safe point; a second one leaves it to the cleaner, as
 * does a lost connection.
 */
export async function performAtCleaner(
  { clean: { socket } }: Config,
  command: CleanCommand,
): Promise<CommandEnd | null> {
  const line = createProgressLine(process.stderr);
  const printer = createPrinter(process.stdout, !('json' in command && command.json));
  let onInterrupt: (() => void) | undefined;
  const listener: CleanListener = {
    onText: (text) => {
      line.clear();
      return printer.print(text);
    },
    onProgress: line.show,
    onBegin: (stop) => {
      if (command.command === 'plan' || command.command === 'status') return;
      onInterrupt = () => {
        line.clear();
        stop();
        process.stderr.write(
          'Stopping at the next safe point. A second Ctrl-C leaves that to the cleaner:\ntidegate clean status shows it.\n',
        );
        process.once('SIGINT', () => process.exit(130));
      };
      process.once('SIGINT', onInterrupt);
    },
  };
  try {
    return await askCleaner(socket, command, listener);
  } finally {
    line.clear();
    await printer.end();
    if (onInterrupt) process.off('SIGINT', onInterrupt);
  }
}

/** Has the cleaner of this configuration do a command. @throws OperatorError when none is running */
export async function requireCleaner(config: Config, command: CleanCommand): Promise<CommandEnd> {
  const end = await performAtCleaner(config, command);
  if (end !== null) return end;
  requireStorage(config);
  throw new OperatorError(
    `No cleaner listens on ${config.clean.socket} (clean.socket): start it as the registry's user, with tidegate clean serve or systemctl start tidegate-clean.`,
  );
}

/** @throws OperatorError when nothing is cleaned up under this configuration */
export function requireStorage(config: Config): void {
  if (isCleaned(config)) return;
  throw new OperatorError(
    "Set upstream.storage to the registry's folder on this machine, or clean.collector to its own collector: without either there is nothing to clean up.",
  );
}
