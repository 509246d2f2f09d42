import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import type { Deployment } from 'kubernetes-types/apps/v1.js';
import type { ConfigMap, Namespace, PersistentVolumeClaim, Pod, Service } from 'kubernetes-types/core/v1.js';
import type { NetworkPolicy } from 'kubernetes-types/networking/v1.js';
import type { PodDisruptionBudget } from 'kubernetes-types/policy/v1.js';
import { parse, parseAllDocuments } from 'yaml';
import { root, run } from '../../support/processes.ts';
import { checkRedisCommand } from '../../support/redis-command.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const folder = `${root}deploy/kubernetes/`;

/** Where the type of each kind is declared. */
const modules: Readonly<Record<Manifest['kind'], string>> = {
  Deployment: 'apps/v1',
  ConfigMap: 'core/v1',
  Namespace: 'core/v1',
  PersistentVolumeClaim: 'core/v1',
  Service: 'core/v1',
  NetworkPolicy: 'networking/v1',
  PodDisruptionBudget: 'policy/v1',
};
type Manifest =
  | (Deployment & { kind: 'Deployment' })
  | (ConfigMap & { kind: 'ConfigMap' })
  | (Namespace & { kind: 'Namespace' })
  | (PersistentVolumeClaim & { kind: 'PersistentVolumeClaim' })
  | (Service & { kind: 'Service' })
  | (NetworkPolicy & { kind: 'NetworkPolicy' })
  | (PodDisruptionBudget & { kind: 'PodDisruptionBudget' });
type Kustomization = {
  resources: string[];
  configMapGenerator: { name: string; files: string[] }[];
  secretGenerator: { name: string; files: string[] }[];
};
type PodSpec = NonNullable<Pod['spec']>;

describe('deploy/kubernetes', () => {
  let manifests: Manifest[];
  let kustomization: Kustomization;
  before(async () => {
    kustomization = parse(await readFile(`${folder}kustomization.yaml`, 'utf8')) as Kustomization;
    const files = await Promise.all(kustomization.resources.map((file) => readFile(folder + file, 'utf8')));
    manifests = files.flatMap((text) =>
      parseAllDocuments(text).map((document) => document.toJS() as Manifest),
    );
  });

  const deployments = () => manifests.filter((manifest) => manifest.kind === 'Deployment');
  const pod = (name: string): PodSpec =>
    deployments().find(({ metadata }) => metadata?.name === name)?.spec?.template.spec ?? assert.fail(name);
  const container = (name: string) => pod(name).containers[0] ?? assert.fail(name);

  it('the kustomization names every file', async () => {
    const present = (await readdir(folder)).filter((name) => name.endsWith('.yaml'));
    assert.deepEqual(present.sort(), [...kustomization.resources, 'kustomization.yaml'].sort());
  });

  it("the manifests have the types of Kubernetes' API", { timeout: 360_000 }, async () => {
    assert.deepEqual(await typeErrors(manifests), '');
    const [first] = deployments();
    const misspelt = JSON.parse(
      JSON.stringify(first).replace('readinessProbe', 'readynessProbe'),
    ) as Manifest;
    assert.match(await typeErrors([misspelt]), /readynessProbe/);
  });

  it('every pod is held to the strictest of the standards for pods', () => {
    for (const { metadata, spec } of deployments()) {
      const name = metadata?.name;
      const { securityContext, containers, automountServiceAccountToken } =
        spec?.template.spec ?? assert.fail();
      assert.equal(securityContext?.runAsNonRoot, true, name);
      assert.deepEqual(securityContext.seccompProfile, { type: 'RuntimeDefault' }, name);
      assert.equal(automountServiceAccountToken, false, name);
      for (const each of containers) {
        assert.deepEqual(
          each.securityContext,
          {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          name,
        );
        assert.ok(each.resources?.requests?.['memory'], name);
        assert.ok(each.readinessProbe && each.livenessProbe, name);
      }
    }
  });

  it('two replicas stand behind one address, and one of them is always there', () => {
    const tidegate = deployments().find(({ metadata }) => metadata?.name === 'tidegate');
    assert.equal(tidegate?.spec?.replicas, 2);
    assert.equal((tidegate.spec.strategy?.rollingUpdate as { maxUnavailable: number }).maxUnavailable, 0);
    const labels = tidegate.spec.template.metadata?.labels;
    assert.deepEqual(tidegate.spec.selector.matchLabels, labels);
    const budget = manifests.find(({ kind }) => kind === 'PodDisruptionBudget') as PodDisruptionBudget;
    assert.equal(budget.spec?.minAvailable, 1);
    assert.deepEqual(budget.spec.selector?.matchLabels, labels);
    const service = serviceOf('tidegate');
    assert.deepEqual(service.spec?.selector, labels);
    assert.equal(service.spec?.ports?.[0]?.targetPort, 'https');
  });

  const serviceOf = (name: string): Service =>
    (manifests.find(({ kind, metadata }) => kind === 'Service' && metadata?.name === name) as
      Service | undefined) ?? assert.fail(name);

  it('probes ask the admin listener by a name that it answers to', () => {
    const { startupProbe, livenessProbe, readinessProbe, ports = [] } = container('tidegate');
    for (const [probe, probePath] of [
      [startupProbe, '/livez'],
      [livenessProbe, '/livez'],
      [readinessProbe, '/readyz'],
    ] as const) {
      assert.deepEqual(probe?.httpGet, {
        path: probePath,
        port: 'admin',
        httpHeaders: [{ name: 'Host', value: 'localhost' }],
      });
    }
    assert.equal(ports.find(({ name }) => name === 'admin')?.containerPort, 9090);
  });

  it('what pods mount, and what variables come from, is made by the kustomization or here', () => {
    const made = new Set([
      ...kustomization.configMapGenerator.map(({ name }) => `ConfigMap ${name}`),
      ...kustomization.secretGenerator.map(({ name }) => `Secret ${name}`),
      ...manifests.map(({ kind, metadata }) => `${kind} ${metadata?.name ?? ''}`),
    ]);
    for (const { spec } of deployments()) {
      const { volumes = [], containers } = spec?.template.spec ?? assert.fail();
      const wanted = [
        ...volumes.flatMap(({ configMap, secret, persistentVolumeClaim }) => [
          ...(configMap ? [`ConfigMap ${configMap.name ?? ''}`] : []),
          ...(secret ? [`Secret ${secret.secretName ?? ''}`] : []),
          ...(persistentVolumeClaim ? [`PersistentVolumeClaim ${persistentVolumeClaim.claimName}`] : []),
        ]),
        ...containers.flatMap(({ env = [] }) =>
          env.flatMap(({ valueFrom }) =>
            valueFrom?.secretKeyRef ? [`Secret ${valueFrom.secretKeyRef.name ?? ''}`] : [],
          ),
        ),
      ];
      for (const each of wanted) assert.ok(made.has(each), each);
      const names = new Set(volumes.map(({ name }) => name));
      for (const { volumeMounts = [] } of containers)
        for (const { name } of volumeMounts) assert.ok(names.has(name), name);
    }
  });

  it(
    'Redis has its password, and no command line does',
    { skip: unlessInstalled('redis-server') },
    async () => {
      for (const { command = [], args = [], livenessProbe, readinessProbe } of deployments().flatMap(
        ({ metadata }) => pod(metadata?.name ?? '').containers,
      ))
        // Kubernetes itself puts the values of $(NAME) there.
        assert.doesNotMatch(JSON.stringify([command, args, livenessProbe, readinessProbe]), /\$\(/);
      const { command = [], args = [] } = container('redis');
      await checkRedisCommand([...command, ...args], { REDIS_PASSWORD: 'r'.repeat(64) });
    },
  );

  it(
    'with clean/, registry, Tidegate and cleaner share a pod, and the cleaner alone writes beside the registry',
    { skip: unlessInstalled('kubectl'), timeout: 360_000 },
    async (t) => {
      const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-kustomize-'));
      t.after(() => rm(dir, { recursive: true }));
      await cp(folder, dir, { recursive: true });
      const text = await readFile(`${dir}/kustomization.yaml`, 'utf8');
      await writeFile(`${dir}/kustomization.yaml`, text.replace('\n# components:', '\ncomponents:'));
      await mkdir(`${dir}/secrets`, { recursive: true });
      for (const file of ['server.crt', 'server.key', 'htpasswd', 'redis-password', 'registry-secret'])
        await writeFile(`${dir}/secrets/${file}`, 'x');
      const built = await run('kubectl', ['kustomize', dir]);
      assert.equal(built.code, 0, built.stderr);
      const all = parseAllDocuments(built.stdout).map((each) => each.toJS() as Manifest);
      const typed = all.filter(({ kind }) => kind in modules);
      assert.deepEqual(await typeErrors(typed), '');
      const names = (kind: string) =>
        all.flatMap((each) => (each.kind === kind ? [each.metadata?.name] : [])).sort();
      assert.deepEqual(names('Deployment'), ['redis', 'tidegate']);
      assert.deepEqual(names('PodDisruptionBudget'), []);
      // A pod is not ready as long as its cleaner is not: nobody's pull may wait for that.
      const service = all.find((each) => each.kind === 'Service' && each.metadata?.name === 'tidegate');
      assert.ok(service?.kind === 'Service' && service.spec?.publishNotReadyAddresses === true);
      const deployment = all.find((each) => each.kind === 'Deployment' && each.metadata?.name === 'tidegate');
      assert.ok(deployment?.kind === 'Deployment' && deployment.spec);
      assert.deepEqual([deployment.spec.replicas, deployment.spec.strategy], [1, { type: 'Recreate' }]);
      const { containers, volumes = [] } = deployment.spec.template.spec ?? assert.fail();
      assert.deepEqual(
        containers.map(({ name, volumeMounts = [] }) => [
          name,
          volumeMounts.find((mount) => mount.name === 'images')?.readOnly ?? false,
        ]),
        [
          ['tidegate', true],
          ['clean', false],
          ['registry', false],
        ],
      );
      const nothing = container('tidegate').securityContext;
      for (const { name, securityContext, livenessProbe, resources, volumeMounts = [] } of containers) {
        assert.deepEqual(securityContext, nothing, name);
        assert.ok(livenessProbe && resources?.requests?.['memory'], name);
        for (const mount of volumeMounts)
          assert.ok(
            volumes.some((volume) => volume.name === mount.name),
            mount.name,
          );
      }
      const address = containers
        .flatMap(({ env = [] }) => env)
        .find((each) => each.name.endsWith('HTTP_ADDR'));
      assert.equal(address?.value, '127.0.0.1:5000');
    },
  );

  it('the configuration looks for its files where they are mounted', async () => {
    const text = await readFile(`${folder}tidegate.yml`, 'utf8');
    const mounts = container('tidegate').volumeMounts ?? [];
    const files = [...text.matchAll(/(\/etc\/tidegate\/\S+)/g)].map(([file]) => file);
    assert.equal(files.length, 3);
    for (const file of files)
      assert.ok(
        mounts.some(({ mountPath }) => path.dirname(file) === mountPath),
        file,
      );
    const keys = kustomization.secretGenerator.flatMap((each) =>
      each.files.map((file) => file.split('=')[0]),
    );
    for (const file of files) assert.ok(keys.includes(path.basename(file)), file);
    for (const [name, url] of [
      ['registry', 'http://registry:5000'],
      ['redis', 'redis://redis:6379/0'],
    ] as const) {
      assert.ok(text.includes(`url: ${url}\n`));
      assert.equal(`:${serviceOf(name).spec?.ports?.[0]?.port ?? 0}`, /:\d+/.exec(url.slice(8))?.[0]);
    }
  });

  it('the registry and Redis are reached from Tidegate alone, and its admin listener not by everyone', () => {
    const policies = manifests.filter((manifest) => manifest.kind === 'NetworkPolicy');
    const of = (name: string) => policies.find(({ metadata }) => metadata?.name === name)?.spec;
    assert.deepEqual(of('nobody'), { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    const tidegate = { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'tidegate' } } };
    for (const name of ['registry', 'redis']) {
      assert.deepEqual(
        of(name)?.ingress?.map(({ from }) => from),
        [[tidegate]],
      );
    }
    const [everyone, monitoring] = of('tidegate')?.ingress ?? [];
    assert.deepEqual(everyone, { ports: [{ port: 'https' }] });
    assert.deepEqual(monitoring?.ports, [{ port: 'admin' }]);
    assert.equal(monitoring.from?.length, 1);
  });
});

/** What the compiler says of these manifests, as values of the types that are generated from Kubernetes' OpenAPI. */
async function typeErrors(manifests: readonly Manifest[]): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-manifests-'));
  const source = manifests.map(
    (manifest, i) =>
      `import type { ${manifest.kind} as Type${i} } from 'kubernetes-types/${modules[manifest.kind]}.js';\n` +
      `export const value${i}: Type${i} = ${JSON.stringify(manifest)};\n`,
  );
  await writeFile(path.join(dir, 'manifests.ts'), source.join(''));
  await symlink(`${root}node_modules`, path.join(dir, 'node_modules'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext'];
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const { stdout } = await run(process.execPath, [compiler, ...options, 'manifests.ts'], { cwd: dir });
  await rm(dir, { recursive: true });
  return stdout;
}
