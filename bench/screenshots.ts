import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { onCluster } from './on-cluster.ts';

const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const BIN = fileURLToPath(new URL('../src/bin/', import.meta.url));
const VIEWPORT = { width: 1180, height: 900 };
const PROFILES = ['gold', 'silver', 'bronze'];
/** The savings of a pool are looked at now and then. */
const MEASURED_MS = 120_000;
const VOLUMES = ['webapp', 'postgres', 'kafka-0', 'kafka-1', 'prometheus', 'registry', 'wiki'];

/** Makes the pictures of the documentation from a real cluster: `npm run screenshots`, as root, with btrfs and Chromium. */
await onCluster({ nodes: 3, backend: 'btrfs' }, async ({ json: { nodes }, clusterJsonPath }) => {
  for (const [index, name] of VOLUMES.entries()) {
    const node = String((index % nodes.length) + 1);
    const volume = `${name}:/mnt,size=${256 + 64 * index}MiB,profile=${PROFILES[index % PROFILES.length]}`;
    const script = `seq 1 ${400_000 * (index + 1)} > /mnt/log; head -c ${(index + 1) * 4}M /dev/urandom > /mnt/data; sync`;
    const where = ['--cluster', clusterJsonPath, '--node', node];
    const command = ['run', ...where, '-v', volume, '--', 'sh', '-c', script];
    await promisify(execFile)(process.execPath, [join(BIN, 'flocker.js'), ...command]);
  }
  const serve = ['--cluster', clusterJsonPath, 'dashboard'];
  const dashboard = spawn(process.execPath, [join(BIN, 'flockerctl.js'), ...serve], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [url] = (await once(createInterface(dashboard.stdout), 'line')) as [string];
    await takePictures(url);
  } finally {
    dashboard.kill('SIGTERM');
    await once(dashboard, 'exit');
  }
});

async function takePictures(url: string): Promise<void> {
  const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  try {
    await mkdir(IMAGES, { recursive: true });
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await browser.newPage({ viewport: VIEWPORT, colorScheme });
      await page.goto(url);
      await page.getByRole('status').filter({ hasText: 'All is well' }).waitFor();
      await page.getByText(/^[\d.]+ MiB \(\d+ %\)$/).waitFor({ timeout: MEASURED_MS });
      await page.screenshot({ path: join(IMAGES, `dashboard-${colorScheme}.png`) });
      await page.close();
    }
  } finally {
    await browser.close();
  }
}
