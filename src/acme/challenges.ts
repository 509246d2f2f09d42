import { createChallengeCertificate } from './challenge-certificate.ts';

export type ChallengeType = 'tls-alpn-01' | 'http-01';

/** A challenge of a CA that waits for its check; nothing in it is secret. */
export type PendingChallenge = {
  readonly type: ChallengeType;
  readonly host: string;
  readonly token: string;
  /** Of the account's key, without which the answer is worth nothing (RFC 8555 section 8.1). */
  readonly thumbprint: string;
};

/** What answers the checks of a CA, as the listeners need it. Plain data, so that processes can send it. */
export type ChallengeAnswers = {
  /** tls-alpn-01 (RFC 8737): the certificate for each host, in lower case. PEM. */
  readonly tls: Readonly<Record<string, { readonly cert: string; readonly key: string }>>;
  /** http-01 (RFC 8555 section 8.3): the key authorization for each token. */
  readonly http: Readonly<Record<string, string>>;
};

export async function answerChallenges(
  challenges: readonly PendingChallenge[],
  now: Date,
): Promise<ChallengeAnswers> {
  const tls = challenges.filter(({ type }) => type === 'tls-alpn-01');
  const http = challenges.filter(({ type }) => type === 'http-01');
  const certificates = tls.map(
    async (challenge) =>
      [challenge.host, await createChallengeCertificate(challenge.host, authorize(challenge), now)] as const,
  );
  return {
    tls: Object.fromEntries(await Promise.all(certificates)),
    http: Object.fromEntries(http.map((challenge) => [challenge.token, authorize(challenge)])),
  };
}

/** The key authorization of RFC 8555 section 8.1. */
function authorize({ token, thumbprint }: PendingChallenge): string {
  return `${token}.${thumbprint}`;
}
