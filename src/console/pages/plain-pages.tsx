import type { ConsolePages, Visit } from '../visit.ts';
import { ErrorPage } from './error-page.tsx';

/** The least that a console has: a login, and who has logged in. */
export const plainPages: ConsolePages = {
  failure: ({ exchange: { id } }, kind) => <ErrorPage title={kind} requestId={id} />,
  login: ({ formToken }, { returnTo, name, failure }) => (
    <html lang="en">
      <head>
        <title>Log in</title>
      </head>
      <body>
        <h1>Log in</h1>
        {failure === null ? null : <p role="alert">{failure.kind}</p>}
        <form method="post" action="/ui/login">
          <input type="hidden" name="csrf" value={formToken} />
          <input type="hidden" name="to" value={returnTo} />
          <input type="text" name="name" value={name} aria-label="Name" />
          <input type="password" name="password" aria-label="Password" />
          <button>Log in</button>
        </form>
      </body>
    </html>
  ),
  places: [
    { pattern: /^$/, get: async (visit) => ({ page: <Home visit={visit} list={await readNames(visit)} /> }) },
  ],
};

async function readNames({ registry }: Visit): Promise<string> {
  const { status, body } = await registry.ask('GET', '/v2/_catalog?n=100');
  return status === 200 ? body.toString() : `(${status})`;
}

function Home({ visit: { session, formToken }, list }: { readonly visit: Visit; readonly list: string }) {
  return (
    <html lang="en">
      <head>
        <title>Registry</title>
      </head>
      <body>
        <h1>{session?.holder?.principal.name ?? 'anonymous'}</h1>
        <pre>{list}</pre>
        <form method="post" action="/ui/logout">
          <input type="hidden" name="csrf" value={formToken} />
          <button>Log out</button>
        </form>
      </body>
    </html>
  );
}
