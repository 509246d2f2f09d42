/** A block of a PEM file that is not used. */
export type LeftOut = {
  readonly line: number;
  readonly label: string;
  /** The reason, unless the label says it. */
  readonly reason?: string;
};

const maxNamed = 10;

const kinds: readonly (readonly [RegExp, string])[] = [
  [/PRIVATE KEY$/, 'a private key'],
  [/^(?:X509 |TRUSTED )?CERTIFICATE$/, 'a certificate'],
  [/^(?:NEW )?CERTIFICATE REQUEST$/, 'a certificate request'],
  [/^X509 CRL$/, 'a revocation list, which is not used'],
  [/^(?:PKCS ?#?7.*|CMS)$/, 'PKCS#7'],
  [/PARAMETERS$/, 'parameters'],
  [/PUBLIC KEY$/, 'a public key'],
];

/** Names the unused blocks of a file by line, in a sentence; none if all are used. */
export function formatLeftOut(path: string, leftOut: readonly LeftOut[]): string[] {
  return leftOut.length === 0 ? [] : [`${path}: not used: ${describeLeftOut(leftOut)}.`];
}

/** The same as a part of a sentence. */
export function describeLeftOut(leftOut: readonly LeftOut[]): string {
  const named = leftOut
    .toSorted((one, other) => one.line - other.line)
    .slice(0, maxNamed)
    .map(({ line, label, reason }) => `line ${line}, ${reason ?? describeKind(label)}`);
  if (leftOut.length > maxNamed) named.push(`and ${leftOut.length - maxNamed} more`);
  return named.join('; ');
}

function describeKind(label: string): string {
  const known = kinds.find(([form]) => form.test(label))?.[1];
  return known ?? `a block of another kind (${label.replace(/[^ -~]/g, '?')})`;
}
