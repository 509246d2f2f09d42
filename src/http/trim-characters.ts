/**
 * Takes these characters off both ends of a text, in time that grows with its length. `/[ ]+$/` takes that of its square: the engine begins anew
 * at each of the spaces that stand together in the middle.
 */
export function trimCharacters(text: string, characters: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && characters.includes(text.charAt(start))) start += 1;
  while (end > start && characters.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}
