/** The name of a machine token; no colon, so that `token:NAME` is one word of a rule, and no name that is itself a token. */
export const tokenNameForm = /^(?!tidegate_)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
