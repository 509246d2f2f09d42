import { Foreign, visibleText } from './foreign.tsx';

/** A command of one line or more. The script puts a button beside it that copies it. */
export function Command({ text, label }: { readonly text: string; readonly label?: string }) {
  return (
    <div class="command">
      {label === undefined ? null : <span class="command-label">{label}</span>}
      <pre tabIndex={0} data-copy="">
        <code>{text.replace(/[^\n]+/g, visibleText)}</code>
      </pre>
    </div>
  );
}

/** A value that is worth copying, such as a digest. */
export function Copyable({ text }: { readonly text: string }) {
  return (
    <span class="copyable">
      <code data-copy="">
        <Foreign text={text} />
      </code>
    </span>
  );
}
