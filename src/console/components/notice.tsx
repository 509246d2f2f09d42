import type { ComponentChildren } from 'preact';
import type { Messages } from '../messages/en.ts';
import { visibleText } from './foreign.tsx';
import { DoneSign, InfoSign, WarningSign } from './icons.tsx';

/** What a change did, said on the page that follows. */
export type Notice =
  | { readonly kind: 'deleted'; readonly references: readonly string[] }
  | { readonly kind: 'loggedOut' | 'passwordChanged' }
  | { readonly kind: 'tokenRevoked'; readonly name: string }
  | { readonly kind: 'undone'; readonly run: string };

type NoticeBoxProps = {
  readonly kind: 'done' | 'warning' | 'info' | 'failed';
  readonly children: ComponentChildren;
};

/** A box above what it is about. What failed is read out at once. */
export function NoticeBox({ kind, children }: NoticeBoxProps) {
  return (
    <div class={`notice ${kind}`} role={kind === 'failed' ? 'alert' : kind === 'done' ? 'status' : undefined}>
      {kind === 'done' ? <DoneSign /> : kind === 'info' ? <InfoSign /> : <WarningSign />}
      <div>{children}</div>
    </div>
  );
}

export function noticeText(t: Messages, notice: Notice): string {
  switch (notice.kind) {
    case 'deleted':
      return t.done.deleted(notice.references.map(visibleText).join(', '));
    case 'loggedOut':
    case 'passwordChanged':
      return t.done[notice.kind];
    case 'tokenRevoked':
      return t.done.tokenRevoked(visibleText(notice.name));
    case 'undone':
      return t.done.undone(visibleText(notice.run));
  }
}
