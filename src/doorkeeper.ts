import type { ServedState } from './app.ts';
import { createRegistryTokens } from './auth/registry-tokens.ts';
import type { Policy } from './policy/policy.ts';
import { createAdmission } from './server/admission.ts';
import { createAuthorization } from './server/authorization.ts';
import { createBearerChallenge } from './server/bearer-challenge.ts';
import { createBasicChallenge } from './server/challenge.ts';
import type { PipelineOptions } from './server/pipeline.ts';
import { createTokenEndpoint } from './server/token-endpoint.ts';
import { admitTokens, authorizeTokens } from './server/token-stages.ts';
import type { Users } from './users.ts';

/** The stages that find out who asks and decide what that one may do. */
type Doorkeeper = Pick<PipelineOptions, 'admit' | 'authorize' | 'challenge' | 'answerToken'>;

/** Creates them, with tokens or without, as the configuration says; `sealKey` signs tokens where it names no keys. */
export function createDoorkeeper({
  state: { config, pem },
  users: { authenticator, htpasswd },
  policy,
  sealKey,
}: {
  state: ServedState;
  users: Pick<Users, 'authenticator' | 'htpasswd'>;
  policy: Policy | null;
  sealKey: Buffer;
}): Doorkeeper {
  const { auth, limits } = config;
  const admitsStrangers = policy?.hasAnonymous === true;
  const givesTokens = auth.tokens === 'on' || (auth.tokens === 'auto' && admitsStrangers);
  const basic = createBasicChallenge(auth.realm);
  const challenge = givesTokens ? createBearerChallenge(auth.realm, basic) : basic;
  const { versionCheck, challengeAgents } = auth;
  const admit = createAdmission({
    ...{ authenticator, challenge, admitsStrangers, versionCheck, challengeAgents },
    lockedOutDelayMs: auth.throttle.answerDelay,
  });
  const authorize = policy && createAuthorization({ policy, challenge });
  if (!givesTokens) return { admit, authorize, challenge, answerToken: null };
  const [first = sealKey, ...others] = pem.tokenSecrets;
  const tokens = createRegistryTokens({
    secrets: [first, ...others],
    service: auth.realm,
    ttlMs: auth.tokenTtl,
    refreshTtlMs: auth.refreshTokenTtl,
    maxRemembered: auth.credentialEntries,
    hashOf: (name) => htpasswd.lookup(name)?.hash,
    now: Date.now,
  });
  return {
    admit: admitTokens(admit, { tokens, challenge, admitsStrangers, versionCheck }),
    authorize: authorizeTokens(authorize, { challenge }),
    challenge,
    answerToken: createTokenEndpoint({
      ...{ tokens, admit, authenticator, policy },
      service: auth.realm,
      givesRefreshTokens: pem.tokenSecrets.length > 0 && auth.refreshTokenTtl > 0,
      maxFormBytes: limits.tokenFormBytes,
      formTimeoutMs: limits.headerTimeout,
      refusedBody: { maxBytes: limits.refusedBodyBytes, timeoutMs: limits.refusedBodyTimeout },
    }),
  };
}
