import type { UsageFile, UsageRow, UserDay } from './usage-file.ts';

/** A question to the record, for the rows after one of them. */
export type UsageQuestion =
  | { readonly ask: 'repositories'; readonly after?: string }
  | { readonly ask: 'references'; readonly repository: string; readonly after?: string }
  | { readonly ask: 'user-days'; readonly after?: Pick<UserDay, 'user' | 'day' | 'family'> };

/** The rows that answer a question. */
export type UsageAnswer<Question extends UsageQuestion = UsageQuestion> = Question extends {
  ask: 'user-days';
}
  ? UserDay
  : UsageRow;

/** How many rows are read at once: other calls have their turn between two pages. */
const pageRows = 500;

/** Reads the next rows; fewer than a page, but none, may come before the end. */
export function readPage(file: UsageFile, question: UsageQuestion): readonly UsageAnswer[] {
  switch (question.ask) {
    case 'repositories':
      return file.repositories(question.after ?? '', pageRows);
    case 'references':
      return file.references(question.repository, question.after ?? null, pageRows);
    case 'user-days':
      return file.userDays(question.after ?? { user: '', day: '', family: '' }, pageRows);
  }
}

/** The same question, for the rows after this page; null: there are none. */
export function afterPage(question: UsageQuestion, page: readonly UsageAnswer[]): UsageQuestion | null {
  const last = page.at(-1);
  if (last === undefined) return null;
  if (question.ask === 'user-days')
    return 'user' in last
      ? { ask: question.ask, after: { user: last.user, day: last.day, family: last.family } }
      : null;
  return 'name' in last ? { ...question, after: last.name } : null;
}

/** Reads a question that came as text; null: it is none. */
export function parseQuestion(text: string): UsageQuestion | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { ask, repository } = (value ?? {}) as { ask?: unknown; repository?: unknown };
  if (ask === 'repositories' || ask === 'user-days') return { ask };
  return ask === 'references' && typeof repository === 'string' ? { ask, repository } : null;
}
