/** Who is asking: the name of a user whose password, or whose upstream-issued token, has been verified. */
export type Identity = { readonly name: string };
