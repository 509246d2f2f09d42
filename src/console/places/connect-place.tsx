import type { Authority } from '../changes/authority.ts';
import { ConsoleError } from '../console-error.ts';
import { ConnectPage } from '../pages/connect-page.tsx';
import type { Place } from '../visit.ts';
import type { ChromeOf } from './chrome-of.ts';

/** How clients come to trust this host: for people without a login, too. @param readAuthority null: clients know the CA */
export function createConnectPlaces(options: {
  readonly chromeOf: ChromeOf;
  readonly readAuthority: () => Promise<Authority | null>;
}): readonly Place[] {
  const { chromeOf, readAuthority } = options;
  return [
    {
      pattern: /^connect$/,
      isPublic: true,
      get: async (visit) => ({
        page: <ConnectPage chrome={chromeOf(visit)} authority={await readAuthority()} />,
      }),
    },
    {
      pattern: /^ca\.crt$/,
      isPublic: true,
      get: async () => {
        const authority = await readAuthority();
        if (authority === null) throw new ConsoleError('notFound');
        return {
          file: Buffer.from(authority.pem),
          type: 'application/x-x509-ca-cert',
          saveAs: 'ca.crt',
        };
      },
    },
  ];
}
