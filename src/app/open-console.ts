import type { AnswerConsole } from '../pipeline/answer-console.ts';
import type { ConsoleParts } from './build-console.ts';

/** Opens the console; null: there is to be none. Its code is loaded by the first request for it: most processes never see one. */
export function openConsole(parts: ConsoleParts): AnswerConsole | null {
  if (!parts.state.config.console.enabled) return null;
  let building: Promise<AnswerConsole> | null = null;
  return async (...request) => {
    building ??= import('./build-console.ts').then(({ buildConsole }) => buildConsole(parts));
    return (await building)(...request);
  };
}
