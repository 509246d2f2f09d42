/** The messages to and from the other worker processes of this instance. */
export type WorkerIpc<Notice> = {
  /** Resolves when every other worker has acted on it, or is gone; never rejects. */
  publish(notice: Notice): Promise<void>;
  /** Sets the subscriber; earlier messages are delivered now. */
  subscribe(listener: (notice: Notice) => void): void;
};
