import { css } from './css.ts';

/** What stands around every page. */
export const frame = css`
  body > header,
  main,
  footer {
    --side: var(--s5);
    width: 100%;
    padding-inline: max(var(--side), 50% - 36rem + var(--side));
  }
  body > header {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--s1) var(--s5);
    padding-block: var(--s3);
    border-bottom: 1px solid var(--line);
  }
  header ul,
  footer ul,
  .tabs ul,
  .jump ul,
  .breadcrumbs ol {
    display: flex;
    flex-wrap: wrap;
    list-style: none;
  }
  header ul {
    gap: var(--s1);
  }
  .brand {
    display: flex;
    align-items: center;
    gap: var(--s2);
    color: var(--text);
    font-weight: 650;
    text-decoration: none;
  }
  .host {
    color: var(--muted);
    font-weight: 400;
  }
  .mark {
    flex: none;
    width: 1.5rem;
    height: 1.5rem;
    color: var(--accent);
  }
  header nav a,
  .visitor a,
  .visitor button.link {
    display: inline-block;
    padding: var(--s1) var(--s2);
    border-radius: var(--radius);
    color: var(--text);
    text-decoration: none;
  }
  header nav a:hover,
  .visitor a:hover,
  .visitor button.link:hover {
    background: var(--raised);
  }
  header [aria-current] {
    background: var(--raised);
    color: var(--accent);
    font-weight: 650;
  }
  .visitor {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--s1);
    margin-inline-start: auto;
  }
  main {
    flex: 1;
    display: flex;
    flex-direction: column;
    gap: var(--s4);
    padding-block: var(--s5) var(--s6);
  }
  main.narrow {
    padding-inline: max(var(--side), 50% - 18rem + var(--side));
  }
  main.narrow form.stack {
    max-width: none;
  }
  footer {
    padding-block: var(--s4);
    font-size: var(--small);
    color: var(--muted);
  }
  footer ul {
    gap: var(--s4);
  }
  section,
  #results {
    display: flex;
    flex-direction: column;
    gap: var(--s3);
  }
  section {
    margin-top: var(--s4);
  }
  section > h3 {
    margin-top: var(--s3);
  }
  .head {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: space-between;
    gap: var(--s3) var(--s5);
  }
  .head h1 {
    min-width: 0;
  }
  .kind {
    display: inline-block;
    margin-inline-start: var(--s1);
    padding: 0 var(--s2);
    border: 1px solid var(--line);
    border-radius: 1em;
    color: var(--muted);
    font-size: var(--small);
    font-weight: 400;
    letter-spacing: 0;
    line-height: 1.6;
    vertical-align: middle;
  }
  .breadcrumbs {
    margin-bottom: calc(-1 * var(--s3));
    font-size: var(--small);
  }
  .breadcrumbs li::after {
    content: '/' / '';
    margin-inline: var(--s2);
    color: var(--muted);
  }
  .empty {
    display: flex;
    flex-direction: column;
    gap: var(--s3);
    padding: var(--s5);
    border: 1px solid var(--line);
    border-radius: var(--radius);
  }
  .empty h2 {
    font-size: var(--body);
  }
`;
