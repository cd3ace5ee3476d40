import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskPlaces } from './disk-places.ts';
import { loadKernel } from './kernel.ts';
import { mountsAt, readMountTable } from './mount-table.ts';
import { removeSharedMountRoot } from './shared-mount-root.ts';

describe.skipIf(process.getuid?.() !== 0)('places of disks (needs root)', () => {
  const kernel = loadKernel();
  let directory: string;
  let root: string;
  let volume: string;
  let places: DiskPlaces;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'disk-places-'));
    root = join(directory, 'deep', 'root');
    volume = join(directory, 'volume');
    await mkdir(volume);
    await writeFile(join(volume, 'data'), 'kept');
    places = new DiskPlaces(kernel, join(directory, 'places'));
  });
  afterEach(async () => {
    await places.closeOthers(new Set());
    for (const path of [root, join(directory, 'other')]) await removeSharedMountRoot(kernel, path);
    await rm(directory, { recursive: true });
  });
  const mounts = async (path: string): Promise<number> => mountsAt(await readMountTable(), path).length;

  it('shows a volume at a mount point of its own, once, that other users can reach', async () => {
    const target = await places.open('id', volume, root);
    expect(target).toBe(join(root, 'id', 'target'));
    for (let time = 0; time < 3; time += 1) expect(await places.open('id', volume, root)).toBe(target);
    expect(await mounts(target)).toBe(1);
    expect(await readFile(join(target, 'data'), 'utf8')).toBe('kept');
    expect([(await stat(root)).mode & 0o777, (await stat(join(directory, 'deep'))).mode & 0o777]).toEqual([
      0o711, 0o755,
    ]);
    await places.close('id');
    await places.close('id');
    expect(await mounts(target)).toBe(0);
    expect(await readdir(root)).toEqual([]);
    expect(await readdir(volume)).toEqual(['data']);
  });

  it('follows the volume, and a root that changed', async () => {
    await places.open('id', volume, root);
    const anew = join(directory, 'anew');
    await mkdir(anew);
    const target = await places.open('id', anew, root);
    expect([await readdir(target), await mounts(target)]).toEqual([[], 1]);
    await places.open('id', volume, join(directory, 'other'));
    expect(await mounts(target)).toBe(0);
    expect(await readdir(join(directory, 'other', 'id', 'target'))).toEqual(['data']);
  });

  it('knows after a crash what it had, and ends what nobody needs', async () => {
    const kept = await places.open('kept', volume, root);
    const gone = await places.open('gone', volume, root);
    await new DiskPlaces(kernel, join(directory, 'places')).closeOthers(new Set(['kept']));
    expect([await mounts(kept), await mounts(gone)]).toEqual([1, 0]);
  });
});
