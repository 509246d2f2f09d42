/** The other worker processes of this front door, as far as they have to know of something that happened in this one. */
export type WorkerIpc<Notice> = {
  /** Resolves when each of the others has acted on it, or is gone; never rejects. */
  publish(notice: Notice): Promise<void>;
  /** Says who acts on what others tell; what came before is handed over now. */
  subscribe(listener: (notice: Notice) => void): void;
};
