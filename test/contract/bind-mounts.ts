import { mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BindMounts } from '../../src/frontends/csi/csi-world.ts';

/** What every {@link BindMounts} does. */
export function bindMountsContract(name: string, make: () => BindMounts): void {
  describe(`BindMounts: ${name}`, () => {
    let directory: string;
    let source: string;
    let mounts: BindMounts;
    const target = (entry = 'target'): string => join(directory, entry);

    beforeEach(async () => {
      directory = await realpath(await mkdtemp(join(tmpdir(), 'flocker-bind-')));
      source = join(directory, 'source');
      await mkdir(source);
      await writeFile(join(source, 'text'), 'shown');
      mounts = make();
    });
    afterEach(async () => {
      for (const entry of ['target', 'other']) await mounts.unbind(target(entry));
      await rm(directory, { recursive: true });
    });

    it('shows the source at targets, as often as it is asked, and removes them', async () => {
      for (let round = 0; round < 3; round += 1) await mounts.bind(source, target(), new Set());
      await mounts.bind(source, target('other'), new Set());
      expect(await readFile(join(target(), 'text'), 'utf8')).toBe('shown');
      await writeFile(join(target('other'), 'text'), 'changed');
      expect(await readFile(join(source, 'text'), 'utf8')).toBe('changed');
      for (let round = 0; round < 3; round += 1) await mounts.unbind(target());
      await expect(stat(target())).rejects.toMatchObject({ code: 'ENOENT' });
      expect(await readFile(join(source, 'text'), 'utf8')).toBe('changed');
    });

    it('tells whether anything is mounted at a path', async () => {
      expect(await mounts.isMounted(target())).toBe(false);
      await mounts.bind(source, target(), new Set(['noatime']));
      expect(await mounts.isMounted(target())).toBe(true);
      await mounts.unbind(target());
      expect(await mounts.isMounted(target())).toBe(false);
    });
  });
}
