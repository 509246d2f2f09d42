import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { blobIds, tryBlob } from './blob.ts';
import {
  dockerAgent,
  judgeAnonymous,
  judgeDockerChallenge,
  judgeNamelessChallenge,
  judgePlainCheck,
  judgeRightPassword,
  judgeWrongPassword,
  namelessAgent,
  plainAgent,
} from './challenge.ts';
import { wayOut, type ClientCheck, type ClientOptions } from './client-check.ts';
import { formatAuthority } from './target.ts';
import { timingIds, tryTiming } from './timing.ts';
import { isHere, parseTokenPlace } from './token-place.ts';
import { judgeToken, tryToken } from './token.ts';
import { tryStreaming, tryUpload, uploadIds } from './upload.ts';

/** The checks of a registry client's requests, from the challenge to a blob that it pushes, reads and deletes. */
export function listRegistryChecks(options: ClientOptions): ClientCheck[] {
  const { target, login, repository, nowMs } = options;
  const tags = `/v2/${repository}/tags/list`;
  const authority = formatAuthority(target);

  return [
    {
      ids: [
        'challenge.docker',
        'challenge.unknown',
        'challenge.others',
        'access.anonymous',
        'password.wrong',
      ],
      limitMs: 15_000,
      fix: wayOut,
      needs: 'http',
      run: async ({ send }, signal) => {
        const get = (path: string, headers: Record<string, string>) =>
          send({ method: 'GET', path, headers }, signal);
        const asked = await get('/v2/', { 'User-Agent': dockerAgent });
        const givesTokens = parseTokenPlace(asked.headers['www-authenticate']) !== null;
        return [
          judgeDockerChallenge(asked, authority),
          judgeNamelessChallenge(await get('/v2/', { 'User-Agent': namelessAgent }), asked),
          judgePlainCheck(await get('/v2/', { 'User-Agent': plainAgent }), options.versionCheck),
          judgeAnonymous(await get(tags, {}), givesTokens),
          judgeWrongPassword(await get(tags, { Authorization: inventAuthorization() })),
        ];
      },
    },
    {
      ids: ['password.right'],
      limitMs: 15_000,
      fix: wayOut,
      needs: 'login',
      run: async ({ send }, signal) => {
        const headers = { Authorization: authorizationOf(login), 'User-Agent': dockerAgent };
        const version = await send({ method: 'GET', path: '/v2/', headers }, signal);
        const list = await send({ method: 'GET', path: tags, headers }, signal);
        const name = login?.name ?? '';
        const finding = judgeRightPassword(name, version, list);
        const agent = { 'User-Agent': dockerAgent };
        const asked = await send({ method: 'GET', path: '/v2/', headers: agent }, signal);
        const place = parseTokenPlace(asked.headers['www-authenticate']);
        // Send a password only to this server.
        if (finding.state !== 'ok' || place === null || !isHere(place, authority)) return [finding];
        const order = { repository, authorization: authorizationOf(login) };
        return [judgeToken(name, await tryToken(send, place, order, signal))];
      },
    },
    {
      ids: [...timingIds],
      limitMs: 10_000,
      fix: wayOut,
      needs: 'http',
      run: ({ send }, signal) => tryTiming(send, nowMs, signal),
    },
    {
      ids: ['upload.streaming'],
      limitMs: 5000,
      fix: wayOut,
      needs: 'http',
      run: async ({ send }, signal) => [await tryStreaming(send, repository, signal)],
    },
    {
      ids: [...uploadIds],
      limitMs: 25_000,
      fix: wayOut,
      needs: 'login',
      run: ({ send }, signal) => {
        const authorization = authorizationOf(login);
        return tryUpload({ send, target, repository, authorization }, signal);
      },
    },
    {
      ids: [...blobIds],
      limitMs: 15_000,
      fix: wayOut,
      needs: 'login',
      run: ({ send }, signal) => {
        const authorization = authorizationOf(login);
        return tryBlob({ send, target, repository, authorization }, hostname(), signal);
      },
    },
  ];
}

function authorizationOf(login: ClientOptions['login']): string {
  return `Basic ${Buffer.from(`${login?.name ?? ''}:${login?.password ?? ''}`).toString('base64')}`;
}

/** A login that nobody has: counts as one failure for this machine's address, and for no user. */
function inventAuthorization(): string {
  const name = `doctor-${randomBytes(6).toString('hex')}`;
  return `Basic ${Buffer.from(`${name}:${randomBytes(18).toString('base64url')}`).toString('base64')}`;
}
