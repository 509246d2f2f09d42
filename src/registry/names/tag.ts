/** A tag (distribution-spec, "Pulling manifests"). */
export const tagForm = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
