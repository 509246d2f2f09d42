import { after, before, describe } from 'node:test';
import { createContainersClient } from '../support/clients-containers.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import type { Image } from '../support/image.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { describeClient } from './client-suite.ts';
import { itKeepsLockedTags, lockedTags } from './locked-tag.ts';

/** The fastest of the clients built on containers/image; Podman and Buildah are in test/long/e2e/containers-clients.test.ts. */
describe('Skopeo', { skip: unlessInstalled('docker-registry') }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: [lockedTags] });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  const skip = unlessInstalled('skopeo', 'tar');
  const createClient = (image: Image) =>
    createContainersClient('skopeo', { host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image });
  describeClient('skopeo', {
    skip,
    place: () => ({ frontDoor, registry }),
    repository: 'team/skopeo',
    createClient,
  });
  itKeepsLockedTags('skopeo', { skip, createClient });
});
