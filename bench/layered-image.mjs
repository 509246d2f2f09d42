import { createHash, randomFillSync } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const mib = 1024 ** 2;

/**
 * An image of random layers in a folder as skopeo's `dir:` reads it, which can become another image of the same size: a front
 * door that is measured twice may not find that the registry has the layers already.
 * @param {string} dir made here
 * @param {{ layers: number, layerMebibytes: number }} size
 */
export function createLayeredImage(dir, { layers, layerMebibytes }) {
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, 'version'), 'Directory Transport Version: 1.1\n');
  const content = Buffer.alloc(layerMebibytes * mib);
  const diffIds = [];
  let files = Array.from({ length: layers }, (_, i) => {
    const tar = tarOf(`layer-${i}`, randomFillSync(content));
    diffIds.push(digestOf(tar));
    // Random bytes do not compress; but skopeo would compress what is not compressed, and be measured by that.
    return writeBlob(dir, gzipSync(tar, { level: 0 }));
  });
  const config = writeBlob(
    dir,
    Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } }),
    ),
  );
  let changes = 0;
  const image = {
    dir,
    bytes: files.reduce((sum, each) => sum + each.size, 0),
    manifest: Buffer.alloc(0),
    /** The manifest's. */
    digest: '',
    /** Of all blobs, the configuration's first. */
    digests: [],
    /** Changes the digest of every layer, but not its content: gzip's header has a time (RFC 1952 section 2.3.1). */
    change: () => {
      changes += 1;
      files = files.map(({ file }) => {
        const output = fs.openSync(file, 'r+');
        const time = Buffer.alloc(4);
        time.writeUInt32LE(changes);
        fs.writeSync(output, time, 0, time.length, 4);
        fs.closeSync(output);
        const bytes = fs.readFileSync(file);
        const digest = digestOf(bytes);
        const renamed = path.join(dir, digest.slice('sha256:'.length));
        fs.renameSync(file, renamed);
        return { file: renamed, digest, size: bytes.length };
      });
      writeManifest();
    },
  };
  const writeManifest = () => {
    const descriptor = (type, { digest, size }) => ({
      mediaType: `application/vnd.oci.image.${type}`,
      digest,
      size,
    });
    image.digests = [config, ...files].map(({ digest }) => digest);
    image.manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: descriptor('config.v1+json', config),
        layers: files.map((file) => descriptor('layer.v1.tar+gzip', file)),
      }),
    );
    image.digest = digestOf(image.manifest);
    fs.writeFileSync(path.join(dir, 'manifest.json'), image.manifest);
  };
  writeManifest();
  return image;
}

function writeBlob(dir, bytes) {
  const digest = digestOf(bytes);
  const file = path.join(dir, digest.slice('sha256:'.length));
  fs.writeFileSync(file, bytes);
  return { file, digest, size: bytes.length };
}

/** Creates a tar archive of one file (POSIX.1-1988, ustar). */
function tarOf(name, content) {
  const head = Buffer.alloc(512);
  const octal = (value, digits) => `${value.toString(8).padStart(digits, '0')}\0`;
  head.write(name, 0);
  head.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(content.length, 11) + octal(0, 11), 100);
  head.write('        0', 148); // the checksum counts as spaces while it is reckoned
  head.write('ustar\x0000', 257);
  const checksum = head.reduce((sum, byte) => sum + byte, 0);
  head.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = (512 - (content.length % 512)) % 512;
  return Buffer.concat([head, content, Buffer.alloc(padding + 1024)]);
}

function digestOf(bytes) {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
