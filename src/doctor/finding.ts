/** The result of a check; only `broken` makes the exit code 1. */
export type FindingState = 'ok' | 'warning' | 'broken' | 'skipped';

/** The result for one subject. */
export type Finding = {
  /** A stable name for programs: group and subject, such as `tls.lifetime`. */
  readonly check: string;
  readonly state: FindingState;
  /** One sentence; foreign text in it is shortened and free of control characters. */
  readonly what: string;
  /** The command or configuration that fixes it, or a hint; null if there is nothing to do. */
  readonly fix: string | null;
};

/** Nothing to fix; `hint` is a possible improvement. */
export function ok(check: string, what: string, hint: string | null = null): Finding {
  return { check, state: 'ok', what, fix: hint };
}

/** Works, but not as it should, or not for long. */
export function warning(check: string, what: string, fix: string): Finding {
  return { check, state: 'warning', what, fix };
}

/** Does not work for clients, or lets in whom it should not. */
export function broken(check: string, what: string, fix: string): Finding {
  return { check, state: 'broken', what, fix };
}

/** Was not checked, and why. */
export function skipped(check: string, what: string, fix: string | null = null): Finding {
  return { check, state: 'skipped', what, fix };
}

const maxForeignLength = 120;

/** Quotes a foreign text (of a server, a file or a certificate) for use in a sentence. */
export function quoteForeign(text: string, maxLength = maxForeignLength): string {
  const clean = text.replace(/\p{Cc}+/gu, ' ').trim();
  return clean.length > maxLength ? `${clean.slice(0, maxLength)}…` : clean;
}

/** "1 day", "2 days". */
export function count(number: number, one: string, several = `${one}s`): string {
  return `${number} ${number === 1 ? one : several}`;
}
