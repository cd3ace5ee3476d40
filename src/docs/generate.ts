import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { generatedPages } from './pages.ts';

// `npm run docs` writes the generated pages; with `-- --check` it writes none and fails when one is stale.
const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
// Defaults that come from the caller's environment must not get into a page.
for (const name of Object.keys(process.env)) if (name.startsWith('FLOCKER_')) delete process.env[name];

for (const { path, text } of generatedPages) {
  const target = resolve(path);
  const [fresh, present] = await Promise.all([text(), readFile(target, 'utf8').catch(() => undefined)]);
  if (fresh === present) continue;
  if (values.check) {
    process.stderr.write(`${path} is stale: run "npm run docs" and commit it.\n`);
    process.exitCode = 1;
    continue;
  }
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, fresh);
  process.stdout.write(`wrote ${path}\n`);
}
