// `npm run picture`: docs/images/first-start.svg, a first `npm start` as a terminal shows it. It runs in a copy of the
// checkout; what differs from machine to machine (folder, ports, password) is replaced by fixed words.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const file = path.join(root, 'docs/images/first-start.svg');
const columns = 104;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-picture-'));
try {
  const lines = await recordStart();
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, draw(['$ npm start', ...lines].flatMap(wrap)));
  console.log(`Written: ${path.relative(root, file)}`);
} finally {
  fs.rmSync(dir, { recursive: true, force: true });
}

/** What a first start prints, up to the line that logs in. */
async function recordStart() {
  const checkout = path.join(dir, 'tidegate');
  fs.mkdirSync(checkout);
  const names = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0');
  for (const name of names.filter((each) => each !== '' && fs.existsSync(path.join(root, each))))
    fs.cpSync(path.join(root, name), path.join(checkout, name));
  const port = await findFreePort();
  const args = ['src/quickstart/start.mjs', '--no-install', '--host', 'myhost', '--port', String(port)];
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEGATE_'));
  const child = spawn(process.execPath, args, { cwd: checkout, env: Object.fromEntries(env) });
  child.stderr.pipe(process.stderr);
  const lines = [];
  let isComplete = false;
  for await (const line of readline.createInterface({ input: child.stdout })) {
    if (!isComplete) lines.push(line);
    if (!line.startsWith('docker login ')) continue;
    isComplete = true;
    child.kill('SIGINT');
  }
  if (!isComplete) throw new Error(`npm start printed no login:\n${lines.join('\n')}`);
  const isProgress = (line) => /^ {4}\d+ of \d+ packages/.test(line);
  return lines.filter((line) => !isProgress(line)).map((line) => conceal(line, checkout, port));
}

function conceal(line, checkout, port) {
  return line
    .replaceAll(fs.realpathSync(checkout), '/home/you/tidegate')
    .replaceAll(checkout, '/home/you/tidegate')
    .replaceAll(String(port), '8443')
    .replaceAll(/127\.0\.0\.1:(?!5000\b)\d+/g, '127.0.0.1:36029')
    .replace(/^password: .*/, 'password: correct-horse-battery-staple');
}

async function findFreePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Breaks a line as a terminal does. */
function wrap(line) {
  const pieces = [line.slice(0, columns)];
  for (let at = columns; at < line.length; at += columns) pieces.push(line.slice(at, at + columns));
  return pieces;
}

function draw(lines) {
  const [glyph, height, margin, bar] = [8, 19, 20, 34];
  const [width, total] = [columns * glyph + 2 * margin, lines.length * height + bar + margin];
  const texts = lines.map((line, at) => {
    const shown = line.trim();
    if (shown === '') return '';
    const x = margin + (line.length - line.trimStart().length) * glyph;
    const y = bar + (at + 1) * height - 5;
    return `<text x="${x}" y="${y}" textLength="${shown.length * glyph}" class="${describe(line)}">${escape(shown)}</text>\n`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" viewBox="0 0 ${width} ${total}" role="img">
<title>A first npm start</title>
<!-- Written by "npm run picture". -->
<style>
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #c9d1d9; white-space: pre; }
.typed { fill: #7ee787; font-weight: bold; } .key { fill: #f2cc60; } .ready { fill: #79c0ff; font-weight: bold; }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${total - 1}" rx="8" fill="#0d1117" stroke="#6e7681"/>
<circle cx="20" cy="17" r="6" fill="#ff5f56"/><circle cx="40" cy="17" r="6" fill="#ffbd2e"/><circle cx="60" cy="17" r="6" fill="#27c93f"/>
${texts.join('')}</svg>
`;
}

/** The class of a line, by what it is. */
function describe(line) {
  if (/^(\$ |docker login )/.test(line)) return 'typed';
  if (/^(user|password): /.test(line)) return 'key';
  return line.startsWith('Tidegate is ready') ? 'ready' : 'plain';
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
