/** A regular expression, taken apart as ECMAScript reads it. */
export type PatternTree =
  | { readonly kind: 'character'; readonly accepts: (character: string) => boolean; readonly samples: string }
  | { readonly kind: 'sequence'; readonly parts: readonly PatternTree[] }
  | { readonly kind: 'choice'; readonly options: readonly PatternTree[] }
  | {
      readonly kind: 'repeat';
      readonly body: PatternTree;
      readonly min: number;
      readonly max: number;
      readonly isLazy: boolean;
    }
  | {
      readonly kind: 'look';
      readonly body: PatternTree;
      readonly isBehind: boolean;
      readonly isNegative: boolean;
    }
  | { readonly kind: 'assertion'; readonly name: '^' | '$' | '\\b' | '\\B' };

/** Tried for what a class of characters accepts: enough to tell the classes of this program apart. */
const probes = 'aZ0f9_-.:/=+ \t\n,;@%$!\\"#*~\u00e9\u2028\0';

/** Takes a regular expression apart. @throws Error for what it does not know: backreferences. */
export function parsePattern({ source, flags }: RegExp): PatternTree {
  const characterFlags = flags.replace(/[^ius]/g, '');
  let at = 0;
  const rest = () => source.slice(at);
  const take = (form: RegExp): string | undefined => {
    const taken = form.exec(rest())?.[0];
    if (taken !== undefined) at += taken.length;
    return taken;
  };

  const choice = (): PatternTree => {
    const options = [sequence()];
    while (take(/^\|/) !== undefined) options.push(sequence());
    return options.length === 1 && options[0] ? options[0] : { kind: 'choice', options };
  };
  const sequence = (): PatternTree => {
    const parts: PatternTree[] = [];
    while (at < source.length && !/^[|)]/.test(rest())) parts.push(quantified(term()));
    return { kind: 'sequence', parts };
  };
  const quantified = (body: PatternTree): PatternTree => {
    const quantifier = take(/^(?:[*+?]|\{\d+(?:,\d*)?\})\??/);
    if (quantifier === undefined) return body;
    const [, min = '', comma, max = ''] = /^\{(\d+)(,?)(\d*)/.exec(quantifier) ?? [];
    const named = { '*': [0, Infinity], '+': [1, Infinity], '?': [0, 1] }[quantifier.charAt(0)];
    const [least = 0, most = 0] =
      named ??
      (comma === '' ? [Number(min), Number(min)] : [Number(min), max === '' ? Infinity : Number(max)]);
    const isLazy = quantifier.length > 1 && quantifier.endsWith('?');
    return { kind: 'repeat', body, min: least, max: most, isLazy };
  };
  const term = (): PatternTree => {
    const assertion = take(/^(?:\^|\$|\\[bB])/);
    if (assertion !== undefined) return { kind: 'assertion', name: assertion as '^' };
    const look = take(/^\(\?<?[=!]/);
    if (look !== undefined) {
      const body = choice();
      at += 1;
      return { kind: 'look', body, isBehind: look.includes('<'), isNegative: look.endsWith('!') };
    }
    if (take(/^\((?:\?:|\?<[A-Za-z]\w*>)?/) !== undefined) {
      const body = choice();
      at += 1;
      return body;
    }
    if (/^\\(?:[1-9]|k<)/.test(rest())) throw new Error(`a backreference in /${source}/`);
    const text = take(
      /^(?:\[(?:\\.|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\c[A-Z]|\\[^]|[^])/,
    );
    if (text === undefined) throw new Error(`/${source}/ was not understood at ${at}`);
    const form = new RegExp(`^${text}$`, characterFlags);
    const known = new Map<string, boolean>();
    const accepts = (character: string) => {
      let accepted = known.get(character);
      if (accepted === undefined) known.set(character, (accepted = form.test(character)));
      return accepted;
    };
    return {
      kind: 'character',
      accepts,
      samples: Array.from(probes + text)
        .filter(accepts)
        .join(''),
    };
  };

  const tree = choice();
  if (at !== source.length) throw new Error(`/${source}/ was not understood at ${at}`);
  return tree;
}

/** A short text that the pattern accepts, as far as assertions let one be made by parts. */
export function sampleOf(tree: PatternTree): string {
  switch (tree.kind) {
    case 'character':
      return tree.samples.charAt(0);
    case 'sequence':
      return tree.parts.map(sampleOf).join('');
    case 'choice':
      return tree.options[0] ? sampleOf(tree.options[0]) : '';
    case 'repeat':
      return sampleOf(tree.body).repeat(Math.max(tree.min, 0));
    case 'look':
    case 'assertion':
      return '';
  }
}
