/** The other worker processes of this front door, as far as they have to know of something that happened in this one. */
export type Peers<Notice> = {
  /** Resolves when each of the others has acted on it, or is gone; never rejects. */
  tell(notice: Notice): Promise<void>;
  /** Says who acts on what others tell; what came before is handed over now. */
  onTold(listener: (notice: Notice) => void): void;
};
