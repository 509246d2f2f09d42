// Scans a storage, marks what its tags hold in each repository, and adds up all digests: `node scan-process.mjs ROOT`.
const dist = new URL('../dist/clean/scan/', import.meta.url);
const [{ DigestTable }, { markRepository }, { scanRepositories }] = await Promise.all(
  ['digest-table.js', 'mark.js', 'scan-repositories.js'].map((file) => import(new URL(file, dist).href)),
);
const startedAtMs = performance.now();
const digests = new DigestTable();
const found = { repositories: 0, links: 0, kept: 0, faults: 0, longestSliceMs: 0 };
let sliceAtMs = performance.now();
const onProgress = (progress) => {
  Object.assign(found, progress);
  found.longestSliceMs = Math.max(found.longestSliceMs, performance.now() - sliceAtMs);
  sliceAtMs = performance.now();
};
for await (const scan of scanRepositories(process.argv[2], { onProgress })) {
  const mark = markRepository(
    scan,
    scan.tags.map((tag) => tag.digest).filter((digest) => digest !== null),
  );
  for (const link of [...scan.layers, ...scan.manifests]) {
    digests.add(link.digest);
    if (mark.keepsLayer(link)) found.kept += 1;
  }
  found.faults += scan.faults.length;
}
const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
console.log(
  JSON.stringify({
    ...found,
    digests: digests.size,
    seconds: (performance.now() - startedAtMs) / 1000,
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
    maxRssMiB: maxRSS / 1024,
  }),
);
