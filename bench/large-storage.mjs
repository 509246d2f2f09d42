// Makes a storage as docker-registry would leave it, with made-up digests: 100 links in each repository.
import { createHash } from 'node:crypto';
import fs from 'node:fs';

const tagsEach = 10;
const layersEach = 70;
export const linksEach = 2 * tagsEach + tagsEach + layersEach;

/**
 * Each repository has ten tags, each on a manifest of its own that names a configuration and six layers. No two
 * repositories share any, which is the worst case for memory.
 * @param {string} root the registry's root directory
 * @param {number} repositories
 */
export function makeLargeStorage(root, repositories) {
  const top = `${root}/docker/registry/v2`;
  for (let number = 0; number < repositories; number++) {
    const folder = `${top}/repositories/team-${number % 100}/app-${number}`;
    const layers = Array.from({ length: layersEach }, (_, layer) => sha256(`${number} ${layer}`));
    makeLinks(`${folder}/_layers/sha256`, layers);
    const manifests = Array.from({ length: tagsEach }, (_, tag) => {
      const named = layers.slice(tag * 7, tag * 7 + 7).map((hex) => describe('layer.v1.tar+gzip', hex));
      const [config, ...rest] = named;
      return Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: type('manifest.v1+json'), config, layers: rest }),
      );
    });
    const digests = manifests.map(sha256);
    makeLinks(`${folder}/_manifests/revisions/sha256`, digests);
    for (const [tag, digest] of digests.entries()) {
      const data = `${top}/blobs/sha256/${digest.slice(0, 2)}/${digest}`;
      fs.mkdirSync(data, { recursive: true });
      fs.writeFileSync(`${data}/data`, manifests[tag]);
      const tagFolder = `${folder}/_manifests/tags/v${tag}`;
      makeLinks(`${tagFolder}/index/sha256`, [digest]);
      fs.mkdirSync(`${tagFolder}/current`);
      fs.writeFileSync(`${tagFolder}/current/link`, `sha256:${digest}`);
    }
  }
}

function makeLinks(folder, hexes) {
  fs.mkdirSync(folder, { recursive: true });
  for (const hex of hexes) {
    fs.mkdirSync(`${folder}/${hex}`);
    fs.writeFileSync(`${folder}/${hex}/link`, `sha256:${hex}`);
  }
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const type = (name) => `application/vnd.oci.image.${name}`;
const describe = (name, hex) => ({ mediaType: type(name), size: 12345, digest: `sha256:${hex}` });
