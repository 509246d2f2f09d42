type ErrorPageProps = {
  readonly title: string;
  /** For the operator, who finds the log line by it. */
  readonly requestId: string;
};

/** Says what failed. */
export function ErrorPage({ title, requestId }: ErrorPageProps) {
  return (
    <html lang="en">
      <head>
        <meta charSet="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>{title}</title>
      </head>
      <body>
        <main>
          <h1>{title}</h1>
          <p>
            Request <code>{requestId}</code>
          </p>
        </main>
      </body>
    </html>
  );
}
