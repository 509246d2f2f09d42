import { FailurePage } from '../pages/failure-page.tsx';
import { LoginPage } from '../pages/login-page.tsx';
import { assets } from '../assets/assets.ts';
import { ConsoleError } from '../console-error.ts';
import type { ConsolePages, Place } from '../visit.ts';
import { createAccountPlaces, type AccountPlaceOptions } from './account-place.tsx';
import { createCleanPlaces, type CleanPlaceOptions } from './clean-place.tsx';
import { createConnectPlaces } from './connect-place.tsx';
import { createRepositoriesPlace } from './repositories-place.tsx';
import { createRepositoryPlace, type RepositoryPlaceOptions } from './repository-place.tsx';

export type ConsolePagesOptions = RepositoryPlaceOptions &
  AccountPlaceOptions &
  CleanPlaceOptions &
  Parameters<typeof createConnectPlaces>[0] &
  Parameters<typeof createRepositoriesPlace>[0];

/** All pages of the console. */
export function createConsolePages(options: ConsolePagesOptions): ConsolePages {
  const { chromeOf } = options;
  const places: readonly Place[] = [
    createRepositoriesPlace(options),
    createRepositoryPlace(options),
    ...createAccountPlaces(options),
    ...createCleanPlaces(options),
    ...createConnectPlaces(options),
  ];
  return {
    places: [...places, assetPlace],
    failure: (visit, kind) => (
      <FailurePage chrome={chromeOf(visit)} kind={kind} requestId={visit.exchange.id} />
    ),
    login: (visit, { returnTo, name, failure }) => (
      <LoginPage chrome={chromeOf(visit)} {...{ returnTo, name, failure }} />
    ),
  };
}

const assetPlace: Place = {
  pattern: /^assets\//,
  isPublic: true,
  get: ({ page }) => {
    const asset = assets.get(`/ui/${page}`);
    if (asset === undefined) throw new ConsoleError('notFound');
    return { file: asset.body, type: asset.type, isImmutable: true };
  },
};
