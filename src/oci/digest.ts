/** A digest (image-spec, "Digests"); what is not one is a tag. */
export const digestForm = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]+$/;
