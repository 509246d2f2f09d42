import { createInterface } from 'node:readline';

/** Asks a yes-or-no question on the terminal; null: there is none. */
export type Confirm = ((question: string) => Promise<boolean>) | null;

/** Creates the prompt on the terminal; null if input or output is none. */
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
      // The end of the input is not a yes.
      terminal.once('close', () => resolve(false));
      terminal.question(question, (answer) => {
        resolve(/^y(es)?$/i.test(answer.trim()));
        terminal.close();
      });
    });
}
