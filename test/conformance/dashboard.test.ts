import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DATASETS } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import type { HttpsAnswer } from '../support/https-answer.ts';

let directory: string;
let control: TestControl;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flocker-dashboard-'));
  await mkdir(join(directory, 'assets'));
  await writeFile(join(directory, 'index.html'), '<!doctype html>');
  await writeFile(join(directory, 'assets', 'a-1.js'), 'void 0');
  await writeFile(join(directory, 'secret.key'), 'secret');
  control = await startTestControl({ dashboardDirectory: directory });
});
afterAll(async () => {
  await control.close();
  await rm(directory, { recursive: true });
});

const get = (path: string): Promise<HttpsAnswer> => control.api.raw({ method: 'GET', path });

describe('the dashboard (addition)', () => {
  it('is served with a policy that lets in nothing from elsewhere', async () => {
    const { status, headers, body } = await get('/dashboard/');
    expect([status, body.toString()]).toEqual([200, '<!doctype html>']);
    expect(headers['content-type']).toEqual(['text/html; charset=utf-8']);
    expect(headers['cache-control']).toEqual(['no-cache']);
    expect(headers['content-security-policy']?.[0]).toContain("default-src 'none'; script-src 'self'");
    expect(headers['content-security-policy']?.[0]).toContain("frame-ancestors 'none'");
    const script = await get('/dashboard/assets/a-1.js');
    expect(script.headers['cache-control']?.[0]).toContain('immutable');
    expect(await get('/dashboard')).toMatchObject({ status: 308, headers: { location: ['/dashboard/'] } });
  });

  it.each(['/dashboard/secret.key', '/dashboard/../package.json', '/dashboard/%2e%2e/x.js', '/dashboard/assets/'])(
    'has nothing at %s',
    async (path) => {
      expect((await get(path)).status).toBe(404);
    },
  );
});

describe('changes from pages of other sites (addition)', () => {
  const change = async (...headers: [string, string][]): Promise<number> =>
    (await control.api.post(DATASETS, {}, headers)).status;

  it.each([
    ['origin', 'https://example.com'],
    ['origin', 'null'],
    ['sec-fetch-site', 'cross-site'],
    ['sec-fetch-site', 'same-site'],
  ])('are refused: %s %s', async (name, value) => {
    expect(await change([name, value])).toBe(403);
  });

  it('are no changes of programs, nor of the page itself', async () => {
    expect(await change()).toBe(400);
    expect(await change(['sec-fetch-site', 'same-origin'])).toBe(400);
    expect(await change(['origin', `https://127.0.0.1:${control.restPort}`])).toBe(400);
  });
});
