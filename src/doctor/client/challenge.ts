import type { HttpAnswer } from './http-sender.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import { isHere, parseTokenPlace } from './token-place.ts';

/** How the Docker engine introduces itself at the version check. */
export const dockerAgent =
  'docker/24.0.7 go/go1.20.10 git-commit/311b9ff kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/24.0.7 \\(linux\\))';
/** nerdctl, Watchtower and many others, which send no name of their own. */
export const namelessAgent = 'Go-http-client/1.1';
/** A known User-Agent that is not a registry client. */
export const plainAgent = 'curl/8.5.0';

export type VersionCheck = 'auto' | 'open' | 'challenge';

/** Describes an unexpected status, and its fix. */
export function explainStatus({ status, headers }: Pick<HttpAnswer, 'status' | 'headers'>): {
  readonly what: string;
  readonly fix: string;
} {
  const server = headers['server'];
  const by = server === undefined ? '' : ` by "${quoteForeign(String(server))}"`;
  const said = `answered with ${status}${by}`;
  if (status === 429) {
    const wait = headers['retry-after'] ?? 'some';
    return {
      what: `${said}: too many wrong passwords from here`,
      fix: `wait ${quoteForeign(wait)} seconds`,
    };
  }
  if (status === 502 || status === 504) {
    return {
      what: `${said}: the registry behind does not answer`,
      fix: 'systemctl status tidegate-registry (or docker-registry); is upstream.url right? (tidegate doctor --config FILE on the server)',
    };
  }
  if (status === 503) {
    return { what: `${said}: stopping, or overloaded`, fix: 'journalctl -u tidegate says which; try again' };
  }
  if (status === 413) {
    return {
      what: `${said}: something limits the size of bodies`,
      fix: 'remove the limit in the proxy before Tidegate (nginx: client_max_body_size 0;)',
    };
  }
  if (status === 403) {
    return {
      what: `${said}: the policy does not allow it`,
      fix: 'name a repository and a user that it allows this, with --repository and --user',
    };
  }
  if (status === 404 && headers['docker-distribution-api-version'] !== undefined) {
    return {
      what: `${said}: a registry answers, but has no such repository for this user`,
      fix: 'name a repository and a user that the policy allows this, with --repository and --user',
    };
  }
  if (status === 404) {
    return {
      what: `${said}: no registry there`,
      fix: 'is this the right host and port, and does the proxy before Tidegate forward /v2/ unchanged?',
    };
  }
  return { what: said, fix: 'journalctl -u tidegate has the request' };
}

/** Judges `GET /v2/` as the Docker engine sends it, without a password; `authority` names the server. */
export function judgeDockerChallenge(
  answer: Pick<HttpAnswer, 'status' | 'headers'>,
  authority: string,
): Finding {
  const check = 'challenge.docker';
  const { status, headers } = answer;
  const challenge = headers['www-authenticate'] ?? '';
  if (status === 200) {
    return broken(
      check,
      'Docker is not asked for a password at /v2/: docker login accepts any, and every push fails.',
      'auth.versionCheck: auto; and a proxy before Tidegate must forward User-Agent',
    );
  }
  if (status !== 401) {
    const { what, fix } = explainStatus(answer);
    return broken(check, `Docker at /v2/ is ${what}.`, fix);
  }
  const place = parseTokenPlace(challenge);
  if (place !== null && !isHere(place, authority)) {
    return broken(
      check,
      `Docker is told to send its password to ${quoteForeign(place.realm.origin)} and not to https://${authority}.`,
      'a proxy before Tidegate must forward Host (nginx: proxy_set_header Host $http_host;)',
    );
  }
  if (place !== null || /^basic\s+realm=/i.test(challenge)) {
    const kind = place === null ? 'Basic' : 'Bearer';
    return headers['docker-distribution-api-version'] === 'registry/2.0'
      ? ok(check, `Docker is asked for its password at /v2/ (401 with a ${kind} challenge).`)
      : warning(
          check,
          'The challenge has no header Docker-Distribution-Api-Version: older clients do not recognise a registry.',
          'let the proxy before Tidegate forward all response headers',
        );
  }
  return broken(
    check,
    challenge === ''
      ? 'The 401 at /v2/ has no WWW-Authenticate, so no client knows how to log in.'
      : `The 401 at /v2/ asks for something other than Basic or a token (${quoteForeign(challenge)}).`,
    'let Tidegate answer, and a proxy before it forward WWW-Authenticate',
  );
}

/** Judges `GET /v2/` as an unknown client sends it; `docker` is the answer to Docker. */
export function judgeNamelessChallenge(
  answer: Pick<HttpAnswer, 'status' | 'headers'>,
  docker: Pick<HttpAnswer, 'status'>,
): Finding {
  const check = 'challenge.unknown';
  const { status } = answer;
  if (status === 401) {
    return ok(
      check,
      'A client with an unknown User-Agent is asked for its password at /v2/ (401); a health check with one needs HEAD, or auth.openAgents.',
    );
  }
  if (status === 200 && docker.status !== 200) {
    return warning(
      check,
      `A client with an unknown User-Agent (${namelessAgent}: nerdctl, Watchtower) is not asked for a password at /v2/: its login accepts any, and its pulls fail.`,
      'remove the text that its User-Agent contains from auth.openAgents, and let the health check use HEAD',
    );
  }
  return skipped(check, `A client with an unknown User-Agent gets ${status} at /v2/, as Docker does.`);
}

/** Judges `GET /v2/` as curl or a known health check sends it; `expected` is auth.versionCheck if known. */
export function judgePlainCheck(
  answer: Pick<HttpAnswer, 'status' | 'headers'>,
  expected: VersionCheck | null,
): Finding {
  const check = 'challenge.others';
  const { status } = answer;
  const wanted = expected === null ? [200, 401] : [expected === 'challenge' ? 401 : 200];
  const whose = expected === null ? '' : `, as auth.versionCheck: ${expected} says`;
  if (wanted.includes(status))
    return ok(check, `curl and known health checks get ${status} at /v2/${whose}.`);
  if (status === 200 || status === 401) {
    return warning(
      check,
      `curl and known health checks get ${status} at /v2/, but auth.versionCheck: ${expected ?? ''} says ${wanted.join()}.`,
      'tidegate reload; or another program than this configuration describes answers',
    );
  }
  const { what, fix } = explainStatus(answer);
  return broken(check, `curl at /v2/ is ${what}.`, fix);
}

/** Judges a repository's tag list without a password; `givesTokens`: a policy may allow that. */
export function judgeAnonymous(
  answer: Pick<HttpAnswer, 'status' | 'headers'>,
  givesTokens: boolean,
): Finding {
  const check = 'access.anonymous';
  if (answer.status === 401) return ok(check, 'Without a password nothing can be read (401).');
  if (givesTokens && (answer.status < 300 || answer.status === 404)) {
    return warning(
      check,
      `This repository can be read without a password (${answer.status}).`,
      'remove the rule of the policy that allows it to anonymous, or to the network of this machine, unless you mean it',
    );
  }
  if (answer.status < 300 || answer.status === 404) {
    return broken(
      check,
      `Repositories can be read without a password (${answer.status}).`,
      'something other than Tidegate answers, or adds a password: let clients reach only Tidegate',
    );
  }
  const { what, fix } = explainStatus(answer);
  return warning(check, `A request without a password is ${what}, not with 401.`, fix);
}

/** Judges a repository's tag list with a wrong password. */
export function judgeWrongPassword(answer: Pick<HttpAnswer, 'status' | 'headers'>): Finding {
  const check = 'password.wrong';
  if (answer.status === 401) return ok(check, 'A wrong password is refused (401).');
  const { what, fix } = explainStatus(answer);
  if (answer.status === 429) return skipped(check, `A wrong password is ${what}.`, fix);
  if (answer.status < 300 || answer.status === 404) {
    return broken(
      check,
      `A wrong password is accepted (${answer.status}).`,
      'something other than Tidegate answers, or replaces Authorization: let clients reach only Tidegate',
    );
  }
  return warning(check, `A wrong password is ${what}, not with 401.`, fix);
}

/** Judges the version check and a repository's tag list with the given password. */
export function judgeRightPassword(
  name: string,
  version: Pick<HttpAnswer, 'status' | 'headers'>,
  tags: Pick<HttpAnswer, 'status' | 'headers'>,
): Finding {
  const check = 'password.right';
  if (version.status === 200 && [200, 403, 404].includes(tags.status)) {
    return ok(check, `The password of ${name} is accepted.`);
  }
  if (version.status === 401 || tags.status === 401) {
    return broken(
      check,
      `The password of ${name} is refused (401).`,
      `tidegate user verify ${name}, with the --file that auth.htpasswd names`,
    );
  }
  const { what, fix } = explainStatus(version.status === 200 ? tags : version);
  return broken(check, `A request with the password of ${name} is ${what}.`, fix);
}
