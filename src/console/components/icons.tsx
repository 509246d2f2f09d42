/** The mark of Tidegate: a gate, and the water behind it. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path
        d="M4 21V9a8 8 0 0 1 16 0v12"
        fill="none"
        stroke="currentColor"
        stroke-width="2.2"
        stroke-linecap="round"
      />
      <path
        d="M8 13c1.3-1.2 2.7-1.2 4 0s2.7 1.2 4 0M8 18c1.3-1.2 2.7-1.2 4 0s2.7 1.2 4 0"
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
      />
    </svg>
  );
}

/** A disc with a sign in it; `path` is that sign. */
function Sign({ path }: { readonly path: string }) {
  return (
    <svg class="sign" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <circle cx="10" cy="10" r="8.2" fill="none" stroke="currentColor" stroke-width="1.6" />
      <path
        d={path}
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}

export const DoneSign = () => <Sign path="M6.5 10.4l2.4 2.4 4.6-5.2" />;
export const WarningSign = () => <Sign path="M10 5.8v5M10 14v.1" />;
export const InfoSign = () => <Sign path="M10 9.2v5M10 6v.1" />;
