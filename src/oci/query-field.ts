/** A field of a query as application/x-www-form-urlencoded has it (WHATWG URL section 5.1); a name that cannot be decoded is left as it is. */
export function readQueryField(text: string): { name: string; value: string } {
  const [name = '', value = ''] = [...new URLSearchParams(text)][0] ?? [];
  return { name, value };
}
