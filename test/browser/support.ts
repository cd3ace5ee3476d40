import { type Browser, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { type Program, start } from '../e2e/support/program.ts';
import type { UpCluster } from '../e2e/support/up.ts';

/** The browser of the distribution. */
export function openBrowser(executablePath: string): Promise<Browser> {
  // Chromium's own sandbox needs a user that is not root.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** `flockerctl dashboard` on a cluster. */
export class Dashboard {
  readonly program: Program;
  readonly url: string;

  private constructor(program: Program, url: string) {
    this.program = program;
    this.url = url;
  }

  static async serve(cluster: UpCluster): Promise<Dashboard> {
    const args = ['--cluster', cluster.clusterJson, '--json', 'dashboard'];
    const program = start('flockerctl', args, cluster.scratch.env);
    await program.says('"url"');
    return new Dashboard(program, (JSON.parse(program.stdout) as { url: string }).url);
  }

  async stop(): Promise<void> {
    this.program.kill('SIGTERM');
    expect(await this.program.ended).toMatchObject({ status: 0, stderr: '' });
  }
}

/** A page that notes whatever should not happen: errors, and requests to anywhere else. */
export class WatchedPage {
  readonly page: Page;
  readonly faults: string[] = [];

  private constructor(page: Page, origin: string) {
    this.page = page;
    page.on('pageerror', (error) => this.faults.push(`error: ${error.message}`));
    page.on('console', (message) => {
      // A request that was refused, or broke with its server, is said on the page.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.faults.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) this.faults.push(`request to ${url}`);
    });
  }

  static async open(
    browser: Browser,
    url: string,
    options: Parameters<Browser['newPage']>[0] = {},
  ): Promise<WatchedPage> {
    const page = await browser.newPage(options);
    page.setDefaultTimeout(30_000);
    const watched = new WatchedPage(page, new URL(url).origin);
    await page.goto(url);
    return watched;
  }
}
