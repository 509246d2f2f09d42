const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Writes three digest bytes as crypt(3) does: its own alphabet, lowest six bits first, `characters` of them. */
export function encodeCryptBase64(high: number, middle: number, low: number, characters: number): string {
  let bits = (high << 16) | (middle << 8) | low;
  let text = '';
  for (let i = 0; i < characters; i++) {
    text += alphabet.charAt(bits & 0x3f);
    bits >>= 6;
  }
  return text;
}
