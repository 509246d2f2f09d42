import type { ComponentChildren } from 'preact';
import type { ShortList } from '../registry/models.ts';
import type { Chrome } from './chrome.ts';
import { Foreign } from './foreign.tsx';
import { limit } from './short-list.ts';
import { Unknown } from './values.tsx';

type NamesProps = {
  readonly chrome: Chrome;
  readonly names: ShortList<string>;
  readonly max: number;
  /** What stands around each. */
  readonly wrap?: (name: string, shown: ComponentChildren) => ComponentChildren;
};

/** The first of several names with commas between, and how many more. */
export function Names({ chrome, names, max, wrap = (_, shown) => shown }: NamesProps) {
  const { items, more } = limit(names, max);
  if (items.length === 0) return <Unknown chrome={chrome} />;
  return (
    <>
      {items.map((name, index) => (
        <>
          {index === 0 ? null : ', '}
          {wrap(name, <Foreign text={name} max={255} />)}
        </>
      ))}
      {more > 0 ? ` ${chrome.t.common.more(chrome.f.count(more))}` : null}
    </>
  );
}
