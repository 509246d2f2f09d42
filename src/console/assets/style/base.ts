import { css } from './css.ts';

/** Type, space, colours and the plainest elements. */
export const base = css`
  /* One scale of type (13, 15, 18, 24 px), one of space (4, 8, 12, 16, 24, 40 px), quiet colours that pass AA on each other. */
  :root {
    color-scheme: light dark;
    --small: 0.8125rem;
    --body: 0.9375rem;
    --large: 1.125rem;
    --title: 1.5rem;
    --s1: 0.25rem;
    --s2: 0.5rem;
    --s3: 0.75rem;
    --s4: 1rem;
    --s5: 1.5rem;
    --s6: 2.5rem;
    --radius: 6px;
    --sans:
      system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'PingFang SC', 'Microsoft YaHei',
      'Noto Sans CJK SC', sans-serif;
    --mono: ui-monospace, 'SFMono-Regular', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
    --ground: #fff;
    --raised: #f5f7f7;
    --line: #dde3e4;
    --edge: #84939a;
    --text: #182226;
    --muted: #56656b;
    --accent: #0b6172;
    --on-accent: #fff;
    --bar: #6fa9b5;
    --done: #1c6b3f;
    --done-ground: #eaf5ee;
    --warning: #7a5200;
    --warning-ground: #fdf5e2;
    --danger: #a52727;
    --danger-ground: #fcefee;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ground: #12191c;
      --raised: #1a2327;
      --line: #2d393e;
      --edge: #6f8089;
      --text: #e3e9eb;
      --muted: #9cabb2;
      --accent: #74c5d6;
      --on-accent: #08262d;
      --bar: #3f7d8b;
      --done: #83cf9f;
      --done-ground: #15281d;
      --warning: #e3b85f;
      --warning-ground: #2b2413;
      --danger: #f3a19b;
      --danger-ground: #2f1a1a;
    }
  }

  *,
  ::before,
  ::after {
    box-sizing: border-box;
  }
  html {
    -webkit-text-size-adjust: 100%;
    text-size-adjust: 100%;
  }
  body {
    margin: 0;
    display: flex;
    flex-direction: column;
    min-height: 100vh;
    background: var(--ground);
    color: var(--text);
    font: var(--body) / 1.5 var(--sans);
    font-variant-numeric: tabular-nums;
    overflow-wrap: anywhere;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  ol,
  dl,
  dd,
  pre,
  table,
  figure,
  fieldset {
    margin: 0;
    padding: 0;
  }
  h1 {
    font-size: var(--title);
    line-height: 1.25;
    font-weight: 650;
    letter-spacing: -0.01em;
  }
  h2 {
    font-size: var(--large);
    line-height: 1.35;
    font-weight: 650;
  }
  h3 {
    font-size: var(--body);
    font-weight: 650;
  }
  small,
  .hint {
    font-size: var(--small);
    color: var(--muted);
  }
  .muted {
    color: var(--muted);
  }
  h1 .muted {
    font-weight: 400;
  }
  code,
  pre {
    font-family: var(--mono);
    font-size: var(--small);
  }
  code {
    font-variant-ligatures: none;
  }
  strong {
    font-weight: 650;
  }
  a {
    color: var(--accent);
    text-underline-offset: 0.2em;
    text-decoration-thickness: 1px;
  }
  a:hover {
    text-decoration-thickness: 2px;
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
    border-radius: 2px;
  }
  main:focus {
    outline: none;
  }
  .sr {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .skip {
    position: absolute;
    inset-inline-start: var(--s4);
    top: -10rem;
    padding: var(--s2) var(--s4);
    background: var(--accent);
    color: var(--on-accent);
    border-radius: var(--radius);
    z-index: 1;
  }
  .skip:focus {
    top: var(--s2);
  }
  /* An invisible character of somebody else, written out. */
  .code-point {
    font: 0.75em var(--mono);
    padding: 0 0.2em;
    border: 1px solid var(--edge);
    border-radius: 3px;
    color: var(--muted);
    white-space: nowrap;
  }
`;
