import { css } from './css.ts';

/** Narrow screens, motion and print. */
export const narrow = css`
  @media (max-width: 56rem) {
    body > header {
      column-gap: var(--s3);
    }
    header nav a,
    .visitor a,
    .visitor button.link {
      padding-inline: var(--s1);
    }
  }
  @media (max-width: 46rem) {
    body > header,
    main,
    footer {
      --side: var(--s4);
    }
    body > header {
      gap: var(--s2) var(--s1);
      font-size: var(--small);
    }
    .brand {
      flex: 0 0 100%;
      font-size: var(--body);
    }
    header nav {
      margin-inline-start: calc(-1 * var(--s2));
    }
    .visitor {
      margin-inline-end: calc(-1 * var(--s2));
    }
    .search,
    .inline .field {
      width: 100%;
    }
    .facts {
      grid-template-columns: repeat(2, minmax(0, 1fr));
    }
    .facts time {
      white-space: normal;
    }
    .command {
      flex-wrap: wrap;
      padding: var(--s2) var(--s2) var(--s2) var(--s3);
    }
    .command-label {
      width: 100%;
    }
    .cards thead {
      position: absolute;
      clip-path: inset(50%);
      width: 1px;
      height: 1px;
      overflow: hidden;
    }
    .cards,
    .cards caption,
    .cards tbody,
    .cards tr,
    .cards th,
    .cards td {
      display: block;
    }
    .cards tr {
      display: flex;
      flex-wrap: wrap;
      gap: var(--s1) var(--s4);
      padding-block: var(--s3);
      border-bottom: 1px solid var(--line);
    }
    .cards tbody tr:first-child {
      border-top: 1px solid var(--line);
    }
    .cards tbody th {
      flex: 0 0 100%;
    }
    .cards th,
    .cards td {
      padding: 0;
      border: 0;
      text-align: start;
      white-space: normal;
    }
    .cards td {
      color: var(--muted);
      font-size: var(--small);
      max-width: 100%;
    }
    .tags td:nth-child(3) {
      min-width: 0;
    }
    .tags tbody tr {
      position: relative;
      padding-inline-start: 1.75rem;
    }
    .tags .pick {
      position: absolute;
      inset-inline-start: 0;
    }
    .tags .pick + a + small {
      padding-inline-start: 0;
    }
    .cards .end {
      margin-inline-start: auto;
    }
    .cards td:empty {
      display: none;
    }
    .cards [data-l]::before {
      content: attr(data-l) ' ';
    }
    .layers .bar,
    .layers td:nth-child(2):not([colspan]) {
      display: none;
    }
    .layers td:first-child {
      width: 75%;
    }
    .layers .no-layer td:last-child {
      text-align: end;
    }
    .layers thead {
      display: none;
    }
    .pairs tr,
    .pairs th,
    .pairs td {
      display: block;
      width: auto;
    }
    .pairs th,
    .pairs td {
      padding: 0;
    }
    .pairs th {
      padding-top: var(--s2);
      border: 0;
      color: var(--muted);
    }
    .pairs td {
      padding-bottom: var(--s2);
    }
  }
  @media (prefers-reduced-motion: no-preference) {
    button,
    .button,
    .tabs a,
    header a {
      transition: background-color 0.12s;
    }
  }
  @media print {
    body > header nav,
    .visitor,
    footer,
    .search,
    .actions,
    .pick,
    .copy,
    .more,
    .skip {
      display: none !important;
    }
    .command {
      border: 1px solid var(--line);
    }
  }
`;
