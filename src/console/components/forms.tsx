import type { ComponentChildren } from 'preact';
import type { Chrome } from './chrome.ts';

/** What proves that a form came from a page of this session. */
export function CsrfField({ chrome: { csrf } }: { readonly chrome: Chrome }) {
  return <input type="hidden" name="csrf" value={csrf} />;
}

type FieldProps = {
  readonly name: string;
  readonly label: string;
  readonly isPassword?: boolean;
  readonly value?: string;
  readonly autocomplete: string;
  readonly hint?: string;
  readonly isRequired?: boolean;
  readonly maxLength?: number;
  /** The id of a list of values to choose from. */
  readonly list?: string;
};

/** A text field with its label, and a hint that is read out with it. */
export function Field({
  name,
  label,
  hint,
  isRequired = false,
  isPassword = false,
  list,
  ...rest
}: FieldProps) {
  const id = `f-${name}`;
  const input = {
    ...rest,
    id,
    name,
    required: isRequired,
    autocapitalize: 'none',
    spellcheck: false,
    ...(hint === undefined ? {} : { 'aria-describedby': `${id}-hint` }),
  } as const;
  return (
    <p class="field">
      <label for={id}>{label}</label>
      {isPassword ? (
        <input type="password" {...input} />
      ) : list === undefined ? (
        <input type="text" {...input} />
      ) : (
        <input type="text" list={list} {...input} />
      )}
      {hint === undefined ? null : (
        <span class="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
    </p>
  );
}

type SearchFormProps = {
  readonly action: string;
  readonly label: string;
  readonly value: string;
  readonly submit: string;
  /** Kept beside the search. */
  readonly hidden?: Readonly<Record<string, string>>;
};

/** A search that the script also sends while one types; it replaces the element `#results`. */
export function SearchForm({ action, label, value, submit, hidden = {} }: SearchFormProps) {
  return (
    <form class="search" role="search" action={action} data-live="results">
      <label class="sr" for="q">
        {label}
      </label>
      <input
        id="q"
        name="q"
        type="search"
        value={value}
        placeholder={label}
        autocomplete="off"
        spellcheck={false}
      />
      {Object.entries(hidden).map(([name, text]) => (
        <input key={name} type="hidden" name={name} value={text} />
      ))}
      <button>{submit}</button>
    </form>
  );
}

/** A value and what it is, in a list of them. */
export function Fact({
  name,
  isWide = false,
  children,
}: {
  readonly name: string;
  /** Takes a line of its own. */
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
}) {
  return (
    <div class={isWide ? 'wide' : undefined}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
