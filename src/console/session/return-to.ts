import { parseTarget } from '../../registry/target.ts';

/** Where a visitor goes who asks for nothing else. */
export const homePath = '/ui/';
const maxLength = 2048;
const printableAscii = /^[\x21-\x7e]*$/;

/** The page to go to after a login: one of the console, whatever a link or a form says. */
export function safeReturnTo(wanted: string | null): string {
  if (wanted === null || wanted.length > maxLength || !printableAscii.test(wanted)) return homePath;
  try {
    const { path: page } = parseTarget(wanted);
    return page.startsWith(homePath) && !/^\/ui\/log(?:in|out)$/.test(page) ? wanted : homePath;
  } catch {
    return homePath;
  }
}
