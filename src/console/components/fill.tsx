import { Fragment, type ComponentChildren } from 'preact';

/** Puts elements into a message, in the places that its language gives them: `{0} by {1}`. */
export function Fill({
  text,
  parts,
}: {
  readonly text: string;
  readonly parts: readonly ComponentChildren[];
}) {
  return (
    <>
      {text.split(/(\{\d\})/).map((piece, index) => (
        <Fragment key={index}>{/^\{\d\}$/.test(piece) ? parts[Number(piece.charAt(1))] : piece}</Fragment>
      ))}
    </>
  );
}
