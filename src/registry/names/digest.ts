/** The longest registered digest (sha512) has 135 characters. */
export const maxDigestLength = 255;
/** A digest (image-spec, "Digests") of at most {@link maxDigestLength} characters; anything else is read as a tag. */
export const digestForm = new RegExp(
  `^(?=.{1,${maxDigestLength}}$)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]+$`,
);
