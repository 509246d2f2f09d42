import { createContainersClient, type ContainersTool } from './clients-containers.ts';
import { createDockerClient, type DockerCli } from './clients-docker.ts';
import type { Client } from './clients.ts';
import { openEngineNamespace, type EngineNamespace } from './engine-namespace.ts';
import { startEngine, type Engine } from './engine.ts';
import { startFrontDoor, type FrontDoor } from './front-door.ts';
import type { Image } from './image.ts';
import { startRegistry, type Registry } from './registry.ts';

/** A Docker engine with a registry and Tidegate on port 443, in their own network namespaces. */
export type EnginePlace = {
  readonly namespace: EngineNamespace;
  readonly engine: Engine;
  readonly registry: Registry;
  readonly frontDoor: FrontDoor;
  createClient(cli: DockerCli, image: Image): Promise<Client>;
  createContainersClient(tool: ContainersTool, image: Image): Promise<Client>;
  close(): Promise<void>;
};

/**
 * @param set Tidegate's settings, `key=value`
 * @param config the text of its configuration file; left out: it has none
 */
export async function openEnginePlace(set: readonly string[], config?: string): Promise<EnginePlace> {
  const namespace = await openEngineNamespace();
  const [engine, registry] = await Promise.all([
    startEngine(namespace),
    startRegistry({ within: namespace.networkOnly }),
  ]);
  const frontDoor = await startFrontDoor({
    upstreamUrl: registry.url,
    hosts: [namespace.host],
    ...(config === undefined ? {} : { config }),
    set: ['listen.host=0.0.0.0', 'listen.port=443', ...set],
    within: namespace.networkOnly,
  });
  return {
    ...{ namespace, engine, registry, frontDoor },
    createClient: (cli, image) => createDockerClient(cli, { namespace, engine, ca: frontDoor.ca, image }),
    createContainersClient: (tool, image) =>
      createContainersClient(tool, {
        ...{ host: namespace.host, ca: frontDoor.ca, image },
        within: namespace.inside,
      }),
    close: async () => {
      await frontDoor.stop();
      await registry.stop();
      await namespace.close();
      await engine.cleanUp();
    },
  };
}
