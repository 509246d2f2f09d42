import type { Notice } from '../components/notice.tsx';
import { runForm } from '../../clean/quarantine/clean-folder.ts';
import { digestForm } from '../../registry/names/digest.ts';
import { tagForm } from '../../registry/names/tag.ts';
import { tokenNameForm } from '../../registry/names/token-name.ts';

/** What the change before this page did, as its redirect says: nothing but names of the right form. */
export function readNotice(query: URLSearchParams): Notice | null {
  const of = query.get('of') ?? '';
  switch (query.get('done')) {
    case 'deleted': {
      const references = of.split(' ').filter((each) => tagForm.test(each) || digestForm.test(each));
      return references.length === 0 ? null : { kind: 'deleted', references };
    }
    case 'loggedOut':
      return { kind: 'loggedOut' };
    case 'passwordChanged':
      return { kind: 'passwordChanged' };
    case 'tokenRevoked':
      return tokenNameForm.test(of) ? { kind: 'tokenRevoked', name: of } : null;
    case 'undone':
      return runForm.test(of) ? { kind: 'undone', run: of } : null;
    default:
      return null;
  }
}
