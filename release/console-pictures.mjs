// `npm run console-pictures`: docs/pictures/console-*.webp, pages of a console with plausible content in Debian's Chromium. For
// Chinese it needs a font that has it (Debian: fonts-wqy-zenhei or fonts-noto-cjk).
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileTests, node } from '../test/compile.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'docs/pictures');
const maxBytes = 80_000;
const image = '/ui/r/shop/web/-/i/latest';
const pictures = [
  { name: 'repositories', at: '/ui/', width: 1120, height: 560 },
  { name: 'image', at: image, width: 1120, height: 900 },
  { name: 'image-dark', at: image, width: 360, height: 780, dark: true },
  { name: 'chinese', at: '/ui/r/shop/web', width: 1120, height: 750, language: 'zh-CN' },
];

if (
  (await node('node_modules/typescript/bin/tsc', '-p', 'tsconfig.json')) !== 0 ||
  (await compileTests()) !== 0
)
  process.exit(1);
const load = (name) => import(`../build/test/support/${name}.js`);
const { startRegistry } = await load('registry');
const { startFrontDoor, user, password } = await load('front-door');
const { startChromium } = await load('chromium');
const { until } = await load('redis');
const { pushPlausible } = await load('console/plausible-content');
const { openRecord, pullOf, pushOf, writeUses } = await load('inventory');

const host = 'registry.example.com';
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-pictures-'));
const registry = await startRegistry();
try {
  await pushPlausible(registry.url);
  await writeRecord();
  const set = [`state.dir=${dir}`, 'state.inventoryDelay=0', 'auth.machineTokens=tokens.yml'];
  const door = await startFrontDoor({ upstreamUrl: registry.url, hosts: [host], set });
  const chromium = await startChromium(door, { host });
  try {
    fs.mkdirSync(folder, { recursive: true });
    for (const picture of pictures) await take(chromium, picture);
  } finally {
    await chromium.stop();
    await door.stop();
  }
} finally {
  await registry.stop();
  fs.rmSync(dir, { recursive: true, force: true });
}

/** Who pushed and pulled what, and how long ago: hours for the newest, weeks for the oldest. */
async function writeRecord() {
  fs.mkdirSync(path.join(dir, 'usage'));
  const record = openRecord(path.join(dir, 'usage/usage.db'));
  const hourMs = 3_600_000;
  const { repositories } = await (await fetch(`${registry.url}/v2/_catalog`)).json();
  for (const [place, repository] of repositories.entries()) {
    const { tags } = await (await fetch(`${registry.url}/v2/${repository}/tags/list`)).json();
    const uses = [];
    for (const tag of tags.filter((each) => !each.startsWith('sha256-'))) {
      const digest = await readDigest(repository, tag);
      const age = /^(2|2\.4|2\.4\.1|latest)$/.test(tag) ? 3 : 40 + tag.length * 9;
      const agoMs = (hours) => Date.now() - (hours + place * 17) * hourMs;
      uses.push(pushOf(repository, tag, digest, agoMs(age), place % 2 === 0 ? 'ming' : 'token:ci'));
      uses.push(pullOf(repository, tag, digest, agoMs(age / 4 - place * 16), 'token:deploy'));
    }
    writeUses(record, uses);
  }
  record.close();
}

async function readDigest(repository, tag) {
  const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';
  const answer = await fetch(`${registry.url}/v2/${repository}/manifests/${tag}`, { headers: { accept } });
  await answer.arrayBuffer();
  return answer.headers.get('docker-content-digest');
}

async function take(chromium, { name, at, ...options }) {
  const window = await chromium.open(options);
  const { page, context } = window;
  await window.logIn(user, password);
  await until('the lists are complete', async () => {
    await page.goto('/ui/');
    return (await page.locator('.notice.info').count()) === 0;
  });
  await page.goto(at);
  const session = await context.newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 80 });
  const file = path.join(folder, `console-${name}.webp`);
  fs.writeFileSync(file, data, 'base64');
  const { size } = fs.statSync(file);
  if (size > maxBytes) throw new Error(`${file} has ${size} bytes`);
  console.log(`Written: ${path.relative(root, file)} (${size} bytes)`);
  await window.close();
}
