import { after, before, describe } from 'node:test';
import { createContainersClient } from '../support/clients-containers.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { describeClient } from './client-suite.ts';

describe('clients built on containers/image', { skip: unlessInstalled('docker-registry') }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  for (const tool of ['podman', 'buildah', 'skopeo'] as const) {
    describeClient(tool, {
      skip: unlessInstalled(tool, 'tar'),
      place: () => ({ frontDoor, registry }),
      repository: `team/${tool}`,
      createClient: (image) =>
        createContainersClient(tool, { host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image }),
    });
  }
});
