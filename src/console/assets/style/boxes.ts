import { css } from './css.ts';

/** Notices, commands, facts, tabs. */
export const boxes = css`
  .notice {
    display: flex;
    gap: var(--s3);
    padding: var(--s3) var(--s4);
    border-radius: var(--radius);
    background: var(--raised);
  }
  .notice > div {
    display: flex;
    flex-direction: column;
    gap: var(--s3);
    min-width: 0;
    flex: 1;
  }
  .sign {
    flex: none;
    width: 1.25rem;
    height: 1.25rem;
    margin-top: 0.1rem;
    color: var(--muted);
  }
  .notice.done {
    background: var(--done-ground);
  }
  .notice.done .sign {
    color: var(--done);
  }
  .notice.warning {
    background: var(--warning-ground);
  }
  .notice.warning .sign,
  strong.warning {
    color: var(--warning);
  }
  .notice.failed {
    background: var(--danger-ground);
  }
  .notice.failed .sign {
    color: var(--danger);
  }
  .commands {
    display: flex;
    flex-direction: column;
    gap: var(--s2);
  }
  .command {
    display: flex;
    align-items: center;
    gap: var(--s1) var(--s3);
    padding: var(--s1) var(--s1) var(--s1) var(--s3);
    border-radius: var(--radius);
    background: var(--raised);
  }
  .command-label {
    flex: none;
    min-width: 4rem;
    color: var(--muted);
    font-size: var(--small);
  }
  .commands .command-label {
    min-width: 8rem;
  }
  .command pre {
    flex: 1;
    min-width: 0;
    padding-block: var(--s1);
    line-height: 1.6;
    white-space: pre-wrap;
  }
  button.copy {
    align-self: flex-start;
    min-height: 0;
    padding: 0 var(--s2);
    border-color: transparent;
    background: none;
    color: var(--accent);
    font-size: var(--small);
  }
  button.copy:hover {
    border-color: var(--edge);
  }
  .facts,
  .tiles {
    display: grid;
    grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr));
    gap: var(--s3) var(--s5);
  }
  .facts > .wide {
    grid-column: 1 / -1;
  }
  dt {
    color: var(--muted);
    font-size: var(--small);
  }
  .tiles {
    grid-template-columns: repeat(auto-fit, minmax(min(9rem, 100%), 1fr));
  }
  .tiles > div {
    padding: var(--s3) var(--s4);
    border: 1px solid var(--line);
    border-radius: var(--radius);
  }
  .tiles dd {
    font-size: var(--large);
    font-weight: 650;
  }
  .tiles small {
    display: block;
    font-weight: 400;
  }
  .plain {
    list-style: none;
  }
  .plain li + li {
    margin-top: var(--s1);
  }
  .targets {
    display: flex;
    flex-direction: column;
    gap: var(--s3);
    list-style: none;
  }
  main.narrow > ul:not(.targets) {
    padding-inline-start: var(--s4);
  }
  .tabs ul,
  .jump ul {
    gap: var(--s2);
  }
  .jump ul {
    gap: var(--s1) var(--s4);
  }
  .tabs {
    margin-top: var(--s4);
  }
  .tabs a {
    display: inline-block;
    padding: var(--s1) var(--s3);
    border: 1px solid var(--line);
    border-radius: var(--radius);
    color: var(--text);
    text-decoration: none;
  }
  .tabs a:hover {
    background: var(--raised);
  }
  .tabs [aria-current] {
    border-color: var(--accent);
    box-shadow: inset 0 0 0 1px var(--accent);
    color: var(--accent);
  }
  .client {
    display: flex;
    flex-direction: column;
    gap: var(--s2);
    padding-top: var(--s3);
    scroll-margin-top: var(--s4);
  }
  .client:target h3 {
    color: var(--accent);
  }
  details > summary {
    width: fit-content;
    padding-block: var(--s1);
    font-weight: 650;
    cursor: pointer;
  }
  details[open] > summary {
    margin-bottom: var(--s2);
  }
  .pages {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--s2) var(--s4);
    padding-top: var(--s2);
  }
  .raw {
    padding: var(--s3);
    border-radius: var(--radius);
    background: var(--raised);
    white-space: pre-wrap;
  }
`;
