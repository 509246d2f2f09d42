import { after, before, describe } from 'node:test';
import { createContainersClient, type ContainersTool } from '../support/clients-containers.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import type { Image } from '../support/image.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { describeClient } from './client-suite.ts';
import { itKeepsLockedTags, lockedTags } from './locked-tag.ts';

describe('clients built on containers/image', { skip: unlessInstalled('docker-registry') }, () => {
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

  const createClient = (tool: ContainersTool) => (image: Image) =>
    createContainersClient(tool, { host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image });

  for (const tool of ['podman', 'buildah', 'skopeo'] as const) {
    describeClient(tool, {
      skip: unlessInstalled(tool, 'tar'),
      place: () => ({ frontDoor, registry }),
      repository: `team/${tool}`,
      createClient: createClient(tool),
    });
  }
  itKeepsLockedTags('skopeo', {
    skip: unlessInstalled('skopeo', 'tar'),
    createClient: createClient('skopeo'),
  });
});
