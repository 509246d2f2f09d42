import { createInterface } from 'node:readline';
import type { Confirm } from './registry/found-registry.ts';

/** What asks who sits at the terminal; null where input or output is none. */
export function openTerminal(): Confirm {
  const { stdin: input, stdout: output } = process;
  if (!input.isTTY || !output.isTTY) return null;
  return (question) =>
    new Promise((resolve) => {
      const terminal = createInterface({ input, output });
      terminal.once('SIGINT', () => {
        output.write('\n');
        process.exit(130);
      });
      // The end of the input is no yes.
      terminal.once('close', () => resolve(false));
      terminal.question(question, (answer) => {
        resolve(/^y(es)?$/i.test(answer.trim()));
        terminal.close();
      });
    });
}
