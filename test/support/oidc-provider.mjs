// An issuer of ID tokens, the npm package oidc-provider: node oidc-provider.mjs CERT KEY. It prints its URL in a line.
// POST /token with grant_type=urn:example:job, client_id (the audience) and claims (JSON) gives an ID token with them.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [certPath, keyPath] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certPath), key: readFileSync(keyPath) });
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `https://localhost:${server.address().port}`;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jobGrant = 'urn:example:job';
const client = (audience) => ({
  client_id: audience,
  token_endpoint_auth_method: 'none',
  grant_types: [jobGrant],
  redirect_uris: [],
  response_types: [],
});
const provider = new Provider(url, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'first' }] },
  clients: ['registry.example.com', 'other.example.com'].map(client),
  features: { devInteractions: { enabled: false } },
  ttl: { IdToken: 300 },
});
provider.registerGrantType(
  jobGrant,
  async (ctx) => {
    const { sub, ...claims } = JSON.parse(ctx.oidc.params.claims);
    const token = new provider.IdToken({ sub }, { ctx });
    token.scope = 'openid';
    for (const [name, value] of Object.entries(claims)) token.set(name, value);
    ctx.body = { id_token: await token.issue({ use: 'idtoken' }) };
  },
  ['claims'],
);
server.on('request', provider.callback());
console.log(url);
