/**
 * All script of the console: buttons that copy, and results while one types. Every page works without it. It is text, since
 * it runs in browsers, whose types the rest of the program must not see.
 */
export const script = String.raw`(() => {
  const { copyLabel = '', copiedLabel = '' } = document.body.dataset;
  const spoken = document.createElement('div');
  spoken.className = 'sr';
  spoken.setAttribute('role', 'status');
  document.body.append(spoken);
  const say = (text) => (spoken.textContent = text);

  function addCopyButtons(root) {
    if (!navigator.clipboard) return;
    for (const source of root.querySelectorAll('[data-copy]')) {
      const text = source.textContent;
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'copy';
      button.textContent = copyLabel;
      button.setAttribute('aria-label', copyLabel + ': ' + text.split('\n', 1)[0]);
      button.addEventListener('click', async () => {
        await navigator.clipboard.writeText(text);
        button.textContent = copiedLabel;
        say(copiedLabel);
        setTimeout(() => (button.textContent = copyLabel), 2000);
      });
      source.after(button);
    }
  }

  function searchWhileTyping(form) {
    const id = form.dataset.live;
    let timer;
    let asked = new AbortController();
    form.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => void refresh().catch(() => {}), 200); // the button still works
    });
    async function refresh() {
      asked.abort();
      asked = new AbortController();
      const { signal } = asked;
      const address = new URL(form.action);
      address.search = new URLSearchParams(new FormData(form)).toString();
      const answer = await fetch(address, { signal });
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const results = page.getElementById(id);
      if (signal.aborted || !answer.ok || results === null) return;
      document.getElementById(id)?.replaceWith(results);
      document.querySelector('footer')?.replaceWith(page.querySelector('footer') ?? '');
      history.replaceState(null, '', address);
      addCopyButtons(results);
      say(results.querySelector('[role=status]')?.textContent ?? '');
    }
  }

  addCopyButtons(document);
  document.querySelectorAll('form[data-live]').forEach(searchWhileTyping);
})();
`;
