/** The mark of the pages, for tabs and bookmarks. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#0b7285" stroke-linecap="round"><path d="M4 21V9a8 8 0 0 1 16 0v12" stroke-width="2.2"/><path d="M8 13c1.3-1.2 2.7-1.2 4 0s2.7 1.2 4 0M8 18c1.3-1.2 2.7-1.2 4 0s2.7 1.2 4 0" stroke-width="1.8"/></svg>`;
