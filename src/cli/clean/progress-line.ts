import type { Progress } from '../../clean/server/messages.ts';
import { printable } from '../../telemetry/log/printable.ts';

export type ProgressLine = {
  readonly show: (progress: Progress) => void;
  /** Makes room for other text. */
  readonly clear: () => void;
};

/** Between two lines about the same, where each stays. */
const intervalMs = 10_000;

/** Shows progress: on a terminal in one line that changes, else in a line now and then. */
export function createProgressLine(
  output: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>,
): ProgressLine {
  if (output.isTTY) {
    let isShown = false;
    return {
      show: (progress) => {
        output.write(`\r\u001b[K${describe(progress).slice(0, output.columns - 1)}`);
        isShown = true;
      },
      clear: () => {
        if (isShown) output.write('\r\u001b[K');
        isShown = false;
      },
    };
  }
  let phase = '';
  let nextAt = 0;
  return {
    show: (progress) => {
      const now = performance.now();
      if (progress.phase === phase && now < nextAt) return;
      ({ phase } = progress);
      nextAt = now + intervalMs;
      output.write(`${describe(progress)}\n`);
    },
    clear: () => {},
  };
}

export function describe({ phase, done, total }: Progress): string {
  const count = (value: number) => value.toLocaleString('en-US');
  const far = total === null ? count(done) : `${count(done)} of ${count(total)}`;
  return `${printable(phase)}: ${far}`;
}
