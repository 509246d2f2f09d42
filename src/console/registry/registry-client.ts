/** What the registry answered. The names of headers are in lower case. */
export type RegistryAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
};

/** What one visitor's page may ask of the registry; bounded in requests, at once and in all, in bytes and in time. */
export type RegistryClient = {
  /**
   * Asks with the visitor's rights, below `/v2/`.
   * @param options `maxBytes`: the longest body; left out: 4 MiB
   * @throws ConsoleError when the page's budget is used up, the answer is too large, or there is none
   */
  ask(
    method: 'GET' | 'HEAD' | 'DELETE',
    path: string,
    options?: { accept?: readonly string[]; maxBytes?: number },
  ): Promise<RegistryAnswer>;
};
