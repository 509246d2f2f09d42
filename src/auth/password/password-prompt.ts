import { StringDecoder } from 'node:string_decoder';
import { OperatorError } from '../../system/operator-error.ts';

const maxLineBytes = 4096;

/** The part of a terminal's input stream that is needed to read without echo. */
type TerminalInput = Pick<NodeJS.ReadStream, 'on' | 'off' | 'pause' | 'resume' | 'setRawMode'>;

/**
 * Prompts on a terminal without echo, one answer per question; always restores the terminal.
 *
 * @returns the answers, or undefined after Ctrl-C
 * @throws OperatorError when the input ends before the last answer
 */
export async function promptHidden(
  questions: readonly string[],
  terminal: { input: TerminalInput; output: Pick<NodeJS.WritableStream, 'write'> },
): Promise<readonly string[] | undefined> {
  const { input, output } = terminal;
  const decoder = new StringDecoder('utf8');
  const answers: string[] = [];
  let typed = '';
  let previous = '';
  let onData: (chunk: Buffer) => void = () => undefined;
  let onEnd: () => void = () => undefined;

  /** @returns whether all questions have been answered */
  function takeAnswer(): boolean {
    answers.push(typed);
    typed = '';
    output.write('\n');
    const next = questions[answers.length];
    if (next !== undefined) output.write(next);
    return next === undefined;
  }

  // One session for all questions: pasted lines answer several.
  const session = new Promise<readonly string[] | undefined>((resolve, reject) => {
    onEnd = () => reject(new OperatorError('The input ended: no password was given.'));
    onData = (chunk) => {
      for (const character of decoder.write(chunk)) {
        const afterReturn = previous === '\r';
        previous = character;
        if (character === '\n' && afterReturn) continue;
        if (character === '\u0003') {
          output.write('\n');
          resolve(undefined);
          return;
        } else if (character === '\u0004' && typed === '') {
          output.write('\n');
          onEnd();
          return;
        } else if (character === '\r' || character === '\n' || character === '\u0004') {
          if (takeAnswer()) {
            resolve(answers);
            return;
          }
        } else if (character === '\u007f' || character === '\b') {
          typed = typed.replace(/.$/u, '');
        } else if (character === '\u0015') {
          typed = '';
        } else {
          typed += character;
        }
      }
    };
  });
  input.on('data', onData);
  input.on('end', onEnd);
  input.setRawMode(true);
  output.write(questions[0] ?? '');
  input.resume();
  try {
    return await session;
  } finally {
    input.setRawMode(false);
    input.off('data', onData);
    input.off('end', onEnd);
    input.pause();
  }
}

/**
 * Reads the first line of a pipe, without its LF or CRLF.
 *
 * @throws OperatorError when it is longer than 4096 bytes or not UTF-8
 */
export async function readFirstLine(input: AsyncIterable<Buffer | string>): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes);
    total += bytes.length;
    if (bytes.includes(0x0a) || total > maxLineBytes) break;
  }
  const bytes = Buffer.concat(chunks);
  const newline = bytes.indexOf(0x0a);
  const line = newline === -1 ? bytes : bytes.subarray(0, newline);
  if (line.length > maxLineBytes) throw new OperatorError('The password on the input is too long.');
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line);
    return text.replace(/\r$/, '');
  } catch {
    throw new OperatorError('The password on the input is not encoded in UTF-8.');
  }
}
