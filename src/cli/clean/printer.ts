import { once } from 'node:events';
import { wrapLine } from '../../telemetry/log/wrap.ts';

export type Printer = {
  /** Takes pieces of any length. Resolves when more may come. */
  print(text: string): Promise<void>;
  /** Prints what no line break has ended. */
  end(): Promise<void>;
};

/** Lines of what cannot be narrower, such as the tables of a plan, are as wide, in columns. */
const minWidth = 80;
/** For a reader who pauses, such as a pager: what is more waits in the cleaner, in bytes. */
const maxUnreadBytes = 16 * 1024 * 1024;

/** Prints text; on a terminal within its width. @param isText whether it is for people */
export function createPrinter(
  output: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write' | 'writableLength'> & NodeJS.EventEmitter,
  isText: boolean,
): Printer {
  const write = async (text: string): Promise<void> => {
    if (!output.write(text) && output.writableLength > maxUnreadBytes) await once(output, 'drain');
  };
  if (!output.isTTY || !isText) return { print: write, end: () => Promise.resolve() };
  const wrap = (line: string) => wrapLine(line, Math.max(minWidth, output.columns)).join('\n');
  let rest = '';
  return {
    print: async (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      await write(lines.map((line) => `${wrap(line)}\n`).join(''));
    },
    end: async () => {
      await write(wrap(rest));
      rest = '';
    },
  };
}
