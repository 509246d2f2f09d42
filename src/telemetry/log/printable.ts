/**
 * What a terminal or another reader of lines could act on: control characters (those above U+007F too, one of which begins an
 * escape sequence), line and paragraph separators, and what turns the direction of text (UAX #9).
 */
const active = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;
const hasActive = new RegExp(active.source);

/** A client's text with nothing in it but what can be seen: the rest is written as `\u{…}`. */
export function printable(text: string): string {
  if (!hasActive.test(text)) return text;
  return text.replace(active, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}
