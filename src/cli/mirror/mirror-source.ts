import { OperatorError } from '../../system/operator-error.ts';

/** A registry that can be mirrored, and the route by which it then answers. */
export type MirrorSource = {
  /** The registry's name in images' names, the `ns` of containerd. */
  readonly namespace: string;
  readonly url: string;
  /** The route's name, and the prefix of its repositories. */
  readonly route: string;
};

const routeNames: Readonly<Record<string, string>> = {
  'docker.io': 'hub',
  'quay.io': 'quay',
  'ghcr.io': 'ghcr',
  'registry.k8s.io': 'k8s',
};

/**
 * Parses a source as in `--mirror`: `HOST`, or `HOST=URL` where the registry of that name is to be reached elsewhere.
 * @throws OperatorError
 */
export function parseMirrorSource(text: string): MirrorSource {
  const [namespace = '', url = defaultUrl(namespace), ...more] = text.split('=');
  const isName = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[1-9][0-9]{0,4})?$/.test(namespace);
  if (!isName || more.length > 0) {
    throw new OperatorError(
      `"${text}" is no registry to mirror: write its name, such as docker.io or quay.io.`,
    );
  }
  if (!/^https?:\/\/[a-zA-Z0-9.:[\]-]+$/.test(url) || !URL.canParse(url)) {
    throw new OperatorError(`"${url}" is not the URL of a registry: write scheme, host and port only.`);
  }
  const [label = ''] = namespace.split(/[.:]/);
  return { namespace, url, route: routeNames[namespace] ?? label.slice(0, 32) };
}

const defaultUrl = (namespace: string): string =>
  namespace === 'docker.io' ? 'https://registry-1.docker.io' : `https://${namespace}`;
