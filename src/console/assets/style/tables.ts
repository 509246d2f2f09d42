import { css } from './css.ts';

/** Tables. */
export const tables = css`
  table {
    width: 100%;
    border-collapse: collapse;
  }
  caption {
    padding-block: var(--s2);
    font-weight: 650;
    text-align: start;
  }
  th,
  td {
    padding: var(--s2) var(--s3);
    border-bottom: 1px solid var(--line);
    text-align: start;
    vertical-align: top;
  }
  th:first-child,
  td:first-child {
    padding-inline-start: 0;
  }
  th:last-child,
  td:last-child {
    padding-inline-end: 0;
  }
  thead th {
    border-bottom-color: var(--edge);
    color: var(--muted);
    font-size: var(--small);
    font-weight: 400;
    white-space: nowrap;
  }
  thead a {
    color: inherit;
  }
  thead [aria-sort] a {
    color: var(--text);
    font-weight: 650;
  }
  tbody th {
    font-weight: 400;
    min-width: 9rem;
  }
  tbody th > a {
    font-weight: 650;
    text-decoration: none;
  }
  tbody th > a:hover {
    text-decoration: underline;
  }
  tbody th > small,
  td > small {
    display: block;
  }
  td small {
    color: var(--muted);
  }
  .n {
    text-align: end;
    white-space: nowrap;
  }
  .end {
    text-align: end;
  }
  td button {
    min-height: 0;
    padding: 0 var(--s3);
    font-size: var(--small);
  }
  .tags td:nth-child(3) {
    min-width: 9rem;
  }
  .tags code,
  td:nth-child(2) > code:only-child,
  td > a > code:only-child,
  time {
    white-space: nowrap;
  }
  .pick {
    display: inline-block;
    padding: 0.2rem var(--s3) 0 0;
    vertical-align: top;
  }
  .pick + a + small {
    padding-inline-start: 1.75rem;
  }
  .layers td {
    font-size: var(--small);
  }
  .layers td:first-child {
    width: 60%;
    font-family: var(--mono);
  }
  .layers .no-layer {
    color: var(--muted);
  }
  .bar {
    width: 8rem;
  }
  .bar svg {
    display: block;
    margin-top: 0.4rem;
    width: 100%;
    height: 0.5rem;
  }
  .bar rect {
    fill: var(--bar);
  }
  .pairs th {
    width: 35%;
  }
  .pairs th,
  .pairs td {
    font: var(--small) / 1.5 var(--mono);
  }
`;
