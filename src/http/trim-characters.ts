/**
 * Trims these characters from both ends of a text, in linear time. `/[ ]+$/` takes quadratic time: the engine starts
 * again at each of the adjacent spaces in the middle.
 */
export function trimCharacters(text: string, characters: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && characters.includes(text.charAt(start))) start += 1;
  while (end > start && characters.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}
