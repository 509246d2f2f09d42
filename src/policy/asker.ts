/** The name of who asks, verified; null: one who did not say. */
export type Asker = string | null;
