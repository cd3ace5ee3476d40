import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import type { StorageClient } from '../../src/client/storage-client.ts';
import { parseDatasetId, parseNodeId } from '../../src/kit/ids.ts';
import { findProgram } from '../e2e/support/find-program.ts';
import { BACKENDS, UpCluster } from '../e2e/support/up.ts';
import { Dashboard, openBrowser, WatchedPage } from './support.ts';

const chromium = (await findProgram('chromium', 'CHROMIUM')) ?? '';
const skip = chromium === '' ? ': chromium is not installed (apt-get install chromium)' : '';
const [backend] = BACKENDS;
const MANY = 500;
const soon = (): AbortSignal => AbortSignal.timeout(60_000);

describe.skipIf(skip !== '')(`the dashboard in a browser${skip}`, () => {
  let cluster: UpCluster;
  let client: FlockerClient & StorageClient;
  let dashboard: Dashboard;
  let browser: Browser;
  let watched: WatchedPage;
  let page: Page;
  let hosts: readonly string[];

  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    await cluster.connected();
    client = await cluster.client();
    hosts = (await cluster.json()).nodes.map(({ host }) => host);
    dashboard = await Dashboard.serve(cluster);
    browser = await openBrowser(chromium);
    watched = await WatchedPage.open(browser, dashboard.url);
    ({ page } = watched);
  });
  afterAll(async () => {
    await browser?.close();
    await dashboard?.stop();
    await client?.close();
    await cluster?.remove();
  });

  const row = (name: string): ReturnType<Page['locator']> =>
    page.locator('tbody tr', { has: page.getByRole('button', { name, exact: true }) });
  const shows = (name: string, text: string | RegExp): Promise<void> => row(name).filter({ hasText: text }).waitFor();
  const open = async (name: string): Promise<ReturnType<Page['getByRole']>> => {
    await row(name).getByRole('button').click();
    return page.getByRole('dialog', { name: `Volume ${name}` });
  };
  const boxOf = (host: string): ReturnType<Page['getByRole']> =>
    page.getByRole('article', { name: new RegExp(`^${host}, `) });
  const create = async (name: string, size: string): Promise<void> => {
    await page.getByRole('button', { name: 'Create volume' }).click();
    const dialog = page.getByRole('dialog', { name: 'Create a volume' });
    await dialog.getByLabel('Name').fill(name);
    await dialog.getByLabel('Size').fill(size);
    await dialog.getByLabel('Node').selectOption({ label: hosts[0] ?? '' });
    await dialog.getByRole('button', { name: 'Create' }).click();
  };
  const axeFaults = async (of: Page): Promise<unknown[]> => {
    await of.evaluate(axe.source);
    const { violations } = await of.evaluate(() =>
      (
        globalThis as unknown as {
          axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
        }
      ).axe.run(),
    );
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  };

  it('says that all is well, and what there is', async () => {
    await page.getByRole('status').filter({ hasText: 'All is well: 0 volumes' }).waitFor();
    for (const host of hosts) expect(await boxOf(host).count()).toBe(1);
    await page
      .getByRole('heading', { name: new RegExp(`^${backend} pool`) })
      .first()
      .waitFor();
    expect(page.url()).not.toContain('secret');
    expect(await page.title()).toBe('Flocker');
  });

  it('creates a volume, live', async () => {
    await create('webapp', '64 MiB');
    await shows('webapp', 'mounted');
    await boxOf(hosts[0] ?? '')
      .getByRole('button', { name: /^webapp, mounted/ })
      .waitFor();
    await page.getByText('Volume webapp is mounted').first().waitFor();
  });

  it('says in plain words why a volume is not made', async () => {
    await create('webapp', '64 MiB');
    const dialog = page.getByRole('dialog', { name: 'Create a volume' });
    await dialog.getByRole('alert').filter({ hasText: 'A dataset named webapp exists' }).waitFor();
    await dialog.getByLabel('Name').fill('other');
    await dialog.getByLabel('Size').fill('much');
    await dialog.getByRole('button', { name: 'Create' }).click();
    await dialog.getByRole('alert').filter({ hasText: '“much” is no size' }).waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  it('moves a volume and shows how it goes over', async () => {
    const dialog = await open('webapp');
    await dialog.getByLabel('Move webapp to').selectOption({ label: hosts[1] ?? '' });
    await dialog.getByRole('button', { name: 'Move', exact: true }).click();
    await boxOf(hosts[1] ?? '')
      .locator('[data-volume]')
      .waitFor();
    await page.keyboard.press('Escape');
    await shows('webapp', hosts[1] ?? '');
    await shows('webapp', 'mounted');
  });

  it('makes a volume larger', async () => {
    const dialog = await open('webapp');
    await dialog.getByLabel('Make webapp larger, to').fill('96 MiB');
    await dialog.getByRole('button', { name: 'Grow' }).click();
    await dialog.getByText('96 MiB', { exact: true }).waitFor();
    await dialog.getByLabel('Make webapp larger, to').fill('64 MiB');
    await dialog.getByRole('button', { name: 'Grow' }).click();
    await dialog.getByRole('alert').filter({ hasText: 'A dataset only grows' }).waitFor();
    await page.keyboard.press('Escape');
  });

  it('takes a snapshot and deletes it, with a second click', async () => {
    const dialog = await open('webapp');
    await dialog.getByLabel('Name of a new snapshot').fill('before');
    await dialog.getByRole('button', { name: 'Take a snapshot of webapp' }).click();
    await dialog.getByRole('listitem').filter({ hasText: 'before ready' }).waitFor();
    await dialog.getByRole('button', { name: 'Delete snapshot before' }).click();
    await dialog.getByRole('button', { name: 'Delete snapshot before of webapp for good' }).click();
    await dialog.getByRole('listitem').waitFor({ state: 'detached' });
    await page.keyboard.press('Escape');
  });

  it('shows a lease and releases it', async () => {
    const { datasets } = await client.listDatasets(soon());
    const dataset = datasets.find(({ deleted, metadata }) => !deleted && metadata['name'] === 'webapp');
    const datasetId = parseDatasetId(dataset?.dataset_id ?? '');
    const nodeId = parseNodeId((await cluster.node(2)).uuid);
    if (nodeId === undefined || datasetId === undefined) throw new Error('no node, or no volume');
    await client.acquireLease({ datasetId, nodeId, expiresSeconds: null }, soon());
    const dialog = await open('webapp');
    await dialog.getByText('does not expire').waitFor();
    await dialog.getByRole('button', { name: 'Release the lease on webapp' }).click();
    await dialog.getByText('none', { exact: true }).waitFor();
    await page.keyboard.press('Escape');
  });

  it('is at hand for the keyboard and for screen readers, also when it is dark and narrow', async () => {
    expect(await axeFaults(page)).toEqual([]);
    await page.getByRole('searchbox').focus();
    await page.keyboard.type('web');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Volume webapp' }).waitFor();
    expect(await axeFaults(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.getByRole('searchbox').fill('');
    const options = { colorScheme: 'dark', viewport: { width: 360, height: 740 } } as const;
    const dark = await WatchedPage.open(browser, dashboard.url, options);
    await dark.page.getByRole('button', { name: 'webapp', exact: true }).waitFor();
    expect(await axeFaults(dark.page)).toEqual([]);
    expect(await dark.page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    expect(dark.faults).toEqual([]);
    await dark.page.close();
  });

  it('goes on after a restart of the control service', async () => {
    await cluster.killNow('control');
    await page.getByRole('status').filter({ hasText: 'cannot be reached' }).waitFor();
    await page.getByRole('status').filter({ hasText: 'All is well: 1 volume' }).waitFor({ timeout: 60_000 });
    await create('after', '64 MiB');
    await shows('after', 'mounted');
  });

  it('deletes a volume only when its name was typed', async () => {
    const dialog = await open('after');
    const button = dialog.getByRole('button', { name: 'Delete after', exact: true });
    expect(await button.isDisabled()).toBe(true);
    await dialog.getByLabel(/type its name: after/).fill('afte');
    expect(await button.isDisabled()).toBe(true);
    await dialog.getByLabel(/type its name: after/).fill('after');
    await button.click();
    await row('after').waitFor({ state: 'detached' });
    await dialog.waitFor({ state: 'detached' });
  });

  it('stays quick with hundreds of volumes', async () => {
    // Of a node that never came, so that nothing has to be mounted.
    const nowhere = parseNodeId('00000000-0000-4000-8000-00000000dead');
    if (nowhere === undefined) throw new Error('no node');
    const names = Array.from({ length: MANY }, (_, index) => `many-${String(index).padStart(3, '0')}`);
    for (let first = 0; first < MANY; first += 50) {
      await Promise.all(
        names
          .slice(first, first + 50)
          .map((name) =>
            client.createDataset(
              { primary: nowhere, maximumSizeBytes: 2 ** 26, metadata: { name } },
              { kind: 'none' },
              soon(),
            ),
          ),
      );
    }
    await row(`many-${MANY - 1}`).waitFor();
    expect(await page.locator('tbody tr').count()).toBeGreaterThan(MANY);
    await page.getByRole('searchbox').fill('many-31');
    await row('many-310').waitFor();
    await row('many-300').waitFor({ state: 'detached' });
    await page.getByRole('searchbox').fill('');
    await row('many-300').waitFor();
  });

  it('let nothing happen that should not, and loaded nothing from elsewhere', () => {
    expect(watched.faults).toEqual([]);
  });

  it('lets nobody in without the secret, nor a page of another site', async () => {
    const { origin } = new URL(dashboard.url);
    expect((await fetch(`${origin}/v1/inspect/datasets`)).status).toBe(401);
    expect((await fetch(`${origin}/?secret=wrong`)).status).toBe(401);
    expect((await fetch(dashboard.url, { headers: { origin: 'https://example.com' } })).status).toBe(403);
    const [cookie] = await page.context().cookies();
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' });
    const headers = { cookie: `${cookie?.name}=${cookie?.value}` };
    expect((await fetch(`${origin}/v1/version`, { headers })).status).toBe(200);
    expect((await fetch(`${origin}/v1/version`, { headers: { ...headers, origin: 'null' } })).status).toBe(403);
    expect((await fetch(`${origin}/v1/version`, { method: 'PUT', headers })).status).toBe(403);
  });
});
