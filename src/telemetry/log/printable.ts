/**
 * Characters on which a terminal or log reader could act: control characters (also those above U+007F, one of which
 * begins an escape sequence), line and paragraph separators, and direction marks (UAX #9).
 */
const active = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;
const hasActive = new RegExp(active.source);

/** Escapes the invisible characters of a client's text as `\u{…}`. */
export function printable(text: string): string {
  if (!hasActive.test(text)) return text;
  return text.replace(active, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}
