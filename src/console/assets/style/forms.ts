import { css } from './css.ts';

/** Fields and buttons. */
export const forms = css`
  input,
  select,
  button,
  .button {
    font: inherit;
    color: inherit;
  }
  input:not([type='checkbox']),
  select {
    width: 100%;
    min-height: 2.375rem;
    padding: var(--s1) var(--s3);
    border: 1px solid var(--edge);
    border-radius: var(--radius);
    background: var(--ground);
  }
  input::placeholder {
    color: var(--muted);
    opacity: 1;
  }
  input[type='checkbox'] {
    width: 1rem;
    height: 1rem;
    margin: 0;
    accent-color: var(--accent);
  }
  button,
  .button {
    display: inline-block;
    min-height: 2.375rem;
    padding: var(--s1) var(--s4);
    border: 1px solid var(--edge);
    border-radius: var(--radius);
    background: var(--ground);
    line-height: 1.75rem;
    text-decoration: none;
    white-space: nowrap;
    cursor: pointer;
  }
  button:hover,
  .button:hover {
    background: var(--raised);
  }
  button.primary {
    border-color: var(--accent);
    background: var(--accent);
    color: var(--on-accent);
    font-weight: 650;
  }
  button.primary:hover {
    background: color-mix(in srgb, var(--accent) 88%, var(--text));
  }
  .danger {
    color: var(--danger);
  }
  button.danger {
    border-color: var(--danger);
  }
  button.danger:hover {
    background: var(--danger-ground);
  }
  button.link {
    min-height: 0;
    border: 0;
    background: none;
    line-height: inherit;
  }
  form.stack,
  details > form {
    display: flex;
    flex-direction: column;
    align-items: flex-start;
    gap: var(--s4);
  }
  form.stack.narrow {
    max-width: 26rem;
  }
  .field {
    display: flex;
    flex-direction: column;
    gap: var(--s1);
    width: 100%;
  }
  .field label,
  legend {
    font-weight: 650;
  }
  fieldset {
    display: flex;
    flex-wrap: wrap;
    gap: var(--s2) var(--s5);
    border: 0;
  }
  legend {
    margin-bottom: var(--s1);
    padding: 0;
  }
  fieldset label {
    display: inline-flex;
    align-items: center;
    gap: var(--s2);
  }
  .search {
    display: flex;
    gap: var(--s2);
    width: 22rem;
    max-width: 100%;
  }
  .inline {
    display: flex;
    flex-wrap: wrap;
    align-items: flex-end;
    gap: var(--s3);
  }
  .inline .field {
    width: 18rem;
    max-width: 100%;
  }
  .buttons,
  .actions {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--s2) var(--s3);
  }
  .actions {
    margin-bottom: var(--s3);
  }
  .more {
    display: flex;
    flex-direction: row;
    flex-wrap: wrap;
    gap: var(--s2) var(--s5);
    padding-top: var(--s4);
    border-top: 1px solid var(--line);
  }
`;
