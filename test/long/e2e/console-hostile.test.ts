import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { canary, follow, unlessChromium } from '../../support/chromium.ts';
import { openConsole, recorded, type ConsolePlace } from '../../support/console/console-place.ts';
import { checkWidth } from '../../support/console/page-checks.ts';
import { createPusher, indexType, type Pusher } from '../../support/console-images.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const run = `globalThis.${canary}=1`;
/** What runs where text of others is not escaped, or is a link, and what breaks lines and layouts. */
const texts = [
  `<script>${run}</script>`,
  `"><img src=x onerror="${run}">`,
  `' autofocus onfocus='${run}`,
  `</code></pre></textarea></title></style><svg onload="${run}">`,
  `javascript:${run}//`,
  `data:text/html,<script>${run}</script>`,
  `https://elsewhere.example/?"><base href=//elsewhere.example>`,
  `\u202egpj.exe\u202c\u2066\u2067\u200b\u00ad\u0000\u0007\u001b[31m\u0085\u2028`,
  'W'.repeat(4000),
  '\u200b'.repeat(4000),
  '&"<>'.repeat(1000),
  'b\u0301'.repeat(2000),
];
const long = `${'a'.repeat(63)}/${'b'.repeat(63)}/${'c'.repeat(63)}/${'d'.repeat(63)}`;
const manyLong = Array.from({ length: 60 }, (_, i) => `long/${'n'.repeat(248)}${i + 10}`);
const longTags = Array.from({ length: 45 }, (_, i) => `${'T'.repeat(120)}${i}`.padEnd(128, '_'));

describe(
  'hostile images in the console',
  { timeout: 300_000, skip: unlessInstalled('docker-registry') || unlessChromium() },
  () => {
    let place: ConsolePlace;
    before(async () => {
      place = await openConsole({ content: pushHostile, set: recorded });
      await place.untilListed();
    });
    after(() => place.stop());

    it('run nothing, lead nowhere and break no page', () =>
      place.visit(async ({ page }) => {
        for (const path of pages) {
          const answer = await page.goto(path);
          assert.equal(answer?.status(), 200, path);
          for (const width of [360, 1440]) {
            await page.setViewportSize({ width, height: 800 });
            await checkWidth(page, `${path} at ${width}`);
          }
          const outside = await page.evaluate<string[]>(
            `[...document.links, ...document.forms].map((each) => each.href ?? each.action).filter((url) => !url.startsWith(location.origin + '/ui/'))`,
          );
          assert.deepEqual(outside, [], path);
        }
      }));

    it('are what a search and a form bring back, as text', () =>
      place.visit(async ({ page }) => {
        for (const text of texts.slice(0, 8).map((each) => each.replaceAll('\0', ''))) {
          for (const path of [
            '/ui/?q=',
            '/ui/r/hostile?q=',
            '/ui/r/hostile/-/compare?b=x&a=',
            '/ui/account?repository=',
            '/ui/login?to=',
          ])
            await page.goto(`${path}${encodeURIComponent(text)}`);
          await page.goto('/ui/');
          await page.getByRole('searchbox').fill(text);
          await follow(page.getByRole('button', { name: 'Search' }));
        }
      }));

    it('would be told of: text that runs, and what the content policy blocks', async () => {
      const faultsOf = async (headers: Readonly<Record<string, string>>) => {
        const window = await place.chromium.open();
        const { page, faults } = window;
        const body = `<!doctype html><script>${run}</script><img src="https://elsewhere.example/x">`;
        await page.route('/ui/planted', (route) =>
          route.fulfill({ contentType: 'text/html', headers, body }),
        );
        await page.goto('/ui/planted');
        await window.close();
        return faults.join('\n');
      };
      const free = await faultsOf({});
      for (const fault of [/text of others ran/, /request: https:\/\/elsewhere\.example/])
        assert.match(free, fault);
      const guarded = await faultsOf({ 'Content-Security-Policy': "default-src 'none'" });
      for (const fault of [/blocked: img-src/, /blocked: script-src-elem inline/])
        assert.match(guarded, fault);
      assert.doesNotMatch(guarded, /text of others ran/);
    });
  },
);

const pages = [
  ...[
    '/ui/',
    '/ui/?q=long&sort=-size',
    '/ui/?q=long&page=2',
    `/ui/r/${long}`,
    `/ui/r/${long}?page=2`,
    `/ui/r/${long}/-/i/${longTags[0] ?? ''}`,
  ],
  ...['/ui/r/hostile', ...texts.map((_, i) => `/ui/r/hostile/-/i/t${i}`), '/ui/r/hostile/-/i/all'],
  ...[
    '/ui/r/hostile/-/i/index',
    '/ui/r/hostile/-/i/chart',
    '/ui/r/hostile/-/i/latin',
    '/ui/r/hostile/-/i/huge',
  ],
  ...[
    '/ui/r/hostile/-/compare?a=t0&b=all',
    '/ui/r/hostile/-/raw/all',
    `/ui/r/${long}/-/delete?tag=${longTags[0] ?? ''}`,
  ],
];

async function pushHostile(url: string): Promise<void> {
  const push = createPusher(url, 'hostile');
  for (const [index, text] of texts.entries()) await pushOne(push, `t${index}`, [text]);
  await pushOne(push, 'all', texts);
  await pushReferrer(push, await pushOne(push, 'index', texts));
  const about = Object.fromEntries(
    ['name', 'version', 'appVersion', 'description'].map((key, i) => [key, texts[i]]),
  );
  const chart = await push.blob(
    Buffer.from(JSON.stringify(about)),
    'application/vnd.cncf.helm.config.v1+json',
  );
  await push.manifest('chart', { config: chart, layers: [] });
  // No UTF-8: a label of the bytes ff fe.
  const latin = Buffer.from(
    '{"os":"linux","architecture":"amd64","config":{"Labels":{"\xff\xfe":"\xc3\x28"}}}',
    'latin1',
  );
  await push.manifest('latin', {
    config: await push.blob(latin, 'application/vnd.oci.image.config.v1+json'),
    layers: [],
  });
  await push.image('huge', { config: { config: { Labels: { huge: '<b>'.repeat(330_000) } } } });
  const longOne = createPusher(url, long);
  const config = await longOne.blob(Buffer.from('{}'), 'application/vnd.oci.image.config.v1+json');
  for (const tag of longTags) await longOne.manifest(tag, { config, layers: [] });
  for (const name of manyLong) await createPusher(url, name).image('1', { layers: 1 });
}

/** An image all of whose texts are these. */
async function pushOne(push: Pusher, tag: string, some: readonly string[]) {
  const pairs = Object.fromEntries(
    some.flatMap((text, i) => [
      [text, `${i} ${text}`],
      [`label ${i}`, text],
    ]),
  );
  const names = Object.fromEntries(some.map((text) => [text, {}]));
  const config = {
    ...{ os: some[0], architecture: some[0], created: some[0], author: some[0] },
    config: {
      ...{ User: some[0], WorkingDir: some[0], Entrypoint: some, Cmd: some, Labels: pairs },
      ...{ ExposedPorts: names, Volumes: names, Env: some.map((text) => `${text}=${text}`) },
    },
    history: [...some, ...some].map((created_by, i) => ({
      created_by,
      comment: created_by,
      empty_layer: i >= 2,
    })),
  };
  return push.image(tag, {
    config,
    layers: [
      await push.blob(Buffer.from('a'), `application/x${some[0] ?? ''}`),
      await push.blob(Buffer.from('b'), 'application/vnd.oci.image.layer.v1.tar'),
    ],
    manifest: { annotations: pairs, artifactType: some[0] },
  });
}

async function pushReferrer(
  push: Pusher,
  subject: { readonly digest: string; readonly mediaType: string; readonly size: number },
) {
  const annotations = Object.fromEntries(texts.map((text, i) => [`${i}${text}`, text]));
  const manifests = texts.map((artifactType) => ({ ...subject, artifactType, annotations }));
  await push.manifest(subject.digest.replace(':', '-'), { mediaType: indexType, manifests, annotations });
}
