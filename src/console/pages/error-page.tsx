/** What failed, in one sentence, and what the visitor may do. */
export type ErrorPageProps = {
  readonly status: number;
  readonly title: string;
  readonly sentence: string;
  /** For the operator, who finds the log line by it. */
  readonly requestId: string;
};

export function ErrorPage({ status, title, sentence, requestId }: ErrorPageProps) {
  return (
    <html lang="en">
      <head>
        <meta charSet="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>{`${title} (${status})`}</title>
      </head>
      <body>
        <main>
          <h1>{title}</h1>
          <p>{sentence}</p>
          <p>
            Request <code>{requestId}</code>
          </p>
        </main>
      </body>
    </html>
  );
}
