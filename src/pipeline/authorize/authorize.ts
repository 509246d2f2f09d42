import { accessOf, type Action, type Permission } from '../../registry/access.ts';
import { OciError } from '../../registry/error.ts';
import { withoutOddSource, type Mount } from '../../registry/mount.ts';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import type { Operation } from '../../registry/operation.ts';
import { principalText, type Principal } from '../../registry/principal.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import type { Policy, Decision } from '../../policy/decision.ts';
import { describeBound } from '../../policy/judgement.ts';
import type { InternalRequest } from '../../upstream/request.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import { credentialsNeeded, type Challenge } from '../authenticate/challenge.ts';
import type { Exchange } from '../exchange.ts';
import type { AnswerListing } from './catalog/listings.ts';
import { unknownUpload, type UploadOrigin, type UploadOwners } from './upload-owners.ts';

/** The changes to an authorized request. */
export type AuthorizedRequest = {
  readonly rawTarget: string;
  /** Whether to hide that the body is a form, which upstream would read like the query. */
  readonly hidesForm: boolean;
  /** See ResponseEdits; left out: none is edited. */
  readonly editLocation?: ((location: string) => string) | undefined;
  /** Answers in place of upstream, and returns the status; left out: upstream answers. */
  readonly list?: (headers: InternalRequest['headers']) => Promise<number>;
};

/**
 * Decides whether the principal may send the request. @throws OciError UNAUTHORIZED, DENIED, NAME_UNKNOWN or
 * BLOB_UPLOAD_UNKNOWN.
 */
export type Authorize = (
  exchange: Exchange,
  operation: Operation,
  target: CanonicalTarget,
  authentication: Authentication,
) => AuthorizedRequest;

/** Creates the authorization stage. Nothing is looked up anywhere before it has allowed the request. */
export function createAuthorize({
  policy,
  challenge,
  uploads,
  answerListing,
  mergesLists,
}: {
  policy: Policy;
  challenge: Challenge;
  uploads: UploadOwners;
  answerListing: AnswerListing;
  /** Whether lists are built for those who may pull everything too. */
  mergesLists: boolean;
}): Authorize {
  return (exchange, operation, target, authentication) => {
    const { principal } = authentication;
    const access = accessOf(operation);
    const deny = (error: OciError, reason: string): OciError => {
      exchange.reason = authentication.isAnonymous ? 'no-credentials' : reason;
      if (!authentication.isAnonymous) return error;
      return credentialsNeeded(
        challenge(exchange, authentication.scopes === null ? undefined : 'insufficient_scope'),
      );
    };
    const whole: AuthorizedRequest = { rawTarget: target.raw, hidesForm: false };
    if (access === null) throw deny(unknownRequest(exchange.method), 'denied-unknown-request');
    switch (access.kind) {
      case 'free':
        if (authentication.isAnonymous) throw deny(unknownRequest(exchange.method), 'no-credentials');
        return whole;
      case 'catalog':
      case 'search': {
        const showsAll = policy.decideForAll(principal).actions.has('pull');
        if (showsAll && !mergesLists) return whole;
        const seesSome = showsAll || policy.mayAnywhere(principal, 'pull');
        if (!seesSome && authentication.isAnonymous)
          throw deny(unknownRequest(exchange.method), 'no-credentials');
        const shows = seesSome ? (repository: string) => mayPull(policy, principal, repository) : null;
        const { kind } = access;
        return {
          ...whole,
          list: (headers) => answerListing(exchange, target, { kind, principal, shows, showsAll, headers }),
        };
      }
      case 'all-repositories': {
        const { action } = access;
        const decision = policy.decideForAll(principal);
        if (!decision.actions.has(action))
          throw deny(deniedForAll(principal, action, decision), reasonOf(decision, action));
        return whole;
      }
      case 'repository': {
        const { repository, action, upload } = access;
        const decision = policy.decide(principal, repository);
        if (!decision.actions.has(action))
          throw deny(denied(principal, { repository, action }, decision), reasonOf(decision, action));
        if (upload === null) return whole;
        const markAs = (origin: UploadOrigin) => (location: string) =>
          uploads.mark(location, target.rawPath, principal, origin);
        if (operation.kind === 'upload-start') {
          const started = startUpload(target, operation.mount, (from) => mayPull(policy, principal, from));
          const editLocation = markAs(uploads.begin(authentication.tokenId ?? null));
          return Object.assign({}, started, { editLocation });
        }
        const unmarked = uploads.unmark(target, principal);
        if (unmarked !== null)
          return { rawTarget: unmarked.rawTarget, hidesForm: false, editLocation: markAs(unmarked.origin) };
        exchange.reason = 'foreign-upload';
        throw unknownUpload();
      }
    }
  };
}

/**
 * Where there is no policy: machine tokens alone are decided about, by the open policy; users may do everything.
 * @param mergesLists whether lists are built for users too
 */
export function authorizeMachines(authorize: Authorize, mergesLists: boolean): Authorize {
  return (exchange, operation, target, authentication) =>
    authentication.principal.kind === 'token' ||
    authentication.principal.kind === 'job' ||
    (mergesLists && isList(operation))
      ? authorize(exchange, operation, target, authentication)
      : { rawTarget: withoutOddSource(exchange.method, target), hidesForm: false };
}

function isList(operation: Operation): boolean {
  const access = accessOf(operation);
  return access?.kind === 'catalog' || access?.kind === 'search';
}

function mayPull(policy: Policy, principal: Principal, repository: string): boolean {
  return policy.decide(principal, repository).actions.has('pull');
}

/**
 * A blob may be mounted only from a repository that may be pulled. Without a source, a registry would search all
 * repositories. Otherwise the mount is removed, and the client uploads the blob.
 */
function startUpload(
  target: CanonicalTarget,
  mount: Mount | null,
  mayPullFrom: (repository: string) => boolean,
): AuthorizedRequest {
  const keeps =
    mount === null || (mount.from !== null && isRepositoryName(mount.from) && mayPullFrom(mount.from));
  return { rawTarget: keeps ? target.raw : mount.rawTargetWithout, hidesForm: true };
}

function reasonOf({ rule, withheld }: Decision, action: Action): string {
  const bound = withheld?.get(action);
  if (bound !== undefined) return `denied-by-${bound}`;
  return rule === null ? 'denied-by-no-rule' : `denied-by-rule-${rule}`;
}

/** Why what is asked for is denied, as a part of a sentence. */
function explain({ rule, withheld }: Decision, action: Action): string {
  const bound = withheld?.get(action);
  if (bound !== undefined) return describeBound(bound, action);
  return rule === null ? 'no rule allows that' : `rule ${rule}`;
}

function unknownRequest(method: string): OciError {
  return new OciError(
    'DENIED',
    `The policy cannot decide on this ${method}: it is not a request of the registry API.`,
  );
}

function denied(principal: Principal, { repository, action }: Permission, decision: Decision): OciError {
  const who = principalText(principal) ?? 'A client without credentials';
  const others = [...decision.actions].filter((other) => other !== 'overwrite');
  if (others.length === 0)
    return new OciError('NAME_UNKNOWN', `There is no repository ${repository} that ${who} may know of.`);
  return new OciError(
    'DENIED',
    `${who} may ${others.join(' and ')} but not ${action} ${repository} (${explain(decision, action)}).`,
  );
}

function deniedForAll(principal: Principal, action: Action, decision: Decision): OciError {
  const who = principalText(principal) ?? 'A client without credentials';
  const why = explain(decision, action);
  return new OciError(
    'DENIED',
    `${who} may not ${action} everything, and this request names no repository (${why}).`,
  );
}
