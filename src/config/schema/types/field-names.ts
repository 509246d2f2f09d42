import { listOf } from './key-type.ts';

/** Fields that no stored answer may have: they are meant for one client, redirect, or describe the body. */
const never =
  /^(?:set-cookie|location|refresh|clear-site-data|www-authenticate|authorization|content-(?:encoding|range|location)|transfer-encoding|trailer|upgrade|x-docker-(?:token|endpoints)|x-accel-.*|x-sendfile)$/i;

/** Names of header fields (RFC 9110 section 5.1) with which answers may be stored. */
export function fieldNames() {
  return listOf((name) => {
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/.test(name))
      return `${JSON.stringify(name.slice(0, 40))} is not the name of a header field`;
    return never.test(name) ? `answers with ${name} are never cached` : undefined;
  }, 'a list of names of header fields');
}
