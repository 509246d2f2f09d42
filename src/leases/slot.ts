/** The slot of a text in a table whose size is a power of two; texts that share one are taken for each other. */
export function slotOf(text: string, slots: number, start = 0): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (let at = start; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) & (slots - 1);
}
