import { maxTextLength } from '../../telemetry/log/access-log.ts';
import { digestForm } from '../../registry/names/digest.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';

/** The digest that upstream names; null for none, or for something else. */
export function readContentDigest(rawHeaders: RawHeaders): string | null {
  const [digest = '', ...others] = headerValues(rawHeaders, 'docker-content-digest');
  return others.length === 0 && digest.length <= maxTextLength && digestForm.test(digest) ? digest : null;
}
