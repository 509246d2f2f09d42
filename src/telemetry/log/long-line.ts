/** The end of a shortened text. */
const mark = '…';

/**
 * Cuts the longest texts of a JSON line, nested ones too, to at most `maxBytes` bytes in all; a shorter line stays as
 * it is.
 */
export function shortenLine(line: string, maxBytes: number): string {
  // No UTF-16 unit takes more than three bytes here.
  if (line.length * 3 <= maxBytes || Buffer.byteLength(line) <= maxBytes) return line;
  const record = JSON.parse(line) as unknown;
  for (let maxLength = maxBytes; maxLength > 0; maxLength = Math.floor(maxLength / 2)) {
    const cut = (_key: string, value: unknown) =>
      typeof value === 'string' && value.length > maxLength ? `${value.slice(0, maxLength)}${mark}` : value;
    const shorter = `${JSON.stringify(record, cut)}\n`;
    if (Buffer.byteLength(shorter) <= maxBytes) return shorter;
  }
  return `${JSON.stringify({ msg: 'a log line was too long' })}\n`;
}
