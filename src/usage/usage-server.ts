import { once } from 'node:events';
import type { Socket } from 'node:net';
import { parseQuestion, type UsageAnswer, type UsageQuestion } from './usage-question.ts';

/** When an answer was given, and when the record began; in milliseconds since the epoch. */
export type UsageTimes = { readonly asOf: number; readonly since: number };

export type UsageAnswers = {
  about(): Promise<UsageTimes>;
  read(question: UsageQuestion): AsyncIterable<readonly UsageAnswer[]>;
};

/** More than the longest names of as many repositories as one question has. */
const maxQuestionBytes = 32_768;
const silenceMs = 10_000;

/**
 * Answers one question on a connection. Question and answer are lines of JSON: UsageTimes, the rows, and `{"end":true}` or
 * an `{"error":…}`.
 */
export function answerQuestions(socket: Socket, answers: UsageAnswers): void {
  let text = '';
  socket.on('error', () => {});
  socket.setTimeout(silenceMs, () => socket.destroy());
  socket.setEncoding('utf8');
  socket.on('data', (piece: string) => {
    text += piece;
    const end = text.indexOf('\n');
    if (end === -1 && text.length <= maxQuestionBytes) return;
    socket.removeAllListeners('data').resume();
    void answer(socket, parseQuestion(text.slice(0, end)), answers);
  });
}

async function answer(socket: Socket, question: UsageQuestion | null, answers: UsageAnswers): Promise<void> {
  const write = async (...values: readonly object[]): Promise<void> => {
    const isDrained = socket.write(values.map((value) => `${JSON.stringify(value)}\n`).join(''));
    if (!isDrained && !socket.destroyed) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
  };
  try {
    if (question === null) throw new Error('it is no question that this version knows');
    await write(await answers.about());
    for await (const page of answers.read(question)) {
      if (socket.destroyed) return;
      await write(...page);
    }
    await write({ end: true });
  } catch (error) {
    await write({ error: (error as Error).message });
  }
  socket.end();
}
