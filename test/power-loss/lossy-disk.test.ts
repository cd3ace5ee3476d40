import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Random } from '../faults/random.ts';
import { DiskFile, type Loss, LossyDisk } from './lossy-disk.ts';

let target: string;
beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), 'flocker-lossy-disk-'));
});
afterEach(() => rmSync(target, { recursive: true }));

function afterCut(disk: LossyDisk, loss: Loss, seed = 1): Record<string, string> {
  rmSync(target, { recursive: true });
  target = mkdtempSync(join(tmpdir(), 'flocker-lossy-disk-'));
  disk.writeAfterCut(target, loss, new Random(seed));
  return Object.fromEntries(readdirSync(target).map((name) => [name, readFileSync(join(target, name), 'latin1')]));
}

function fileIn(disk: LossyDisk, name: string): DiskFile {
  const node = disk.find([name]);
  if (!(node instanceof DiskFile)) throw new Error(`${name} is no file`);
  return node;
}

describe('a disk that loses what was not synced', () => {
  it('keeps data with the sync of the file, and the name with the sync of its directory', () => {
    const disk = new LossyDisk();
    disk.create(['a'], 'file', 1);
    fileIn(disk, 'a').edit({ kind: 'write', offset: 0, data: Buffer.from('data'), at: 2 });
    fileIn(disk, 'a').sync(3);
    expect(afterCut(disk, 'everything')).toEqual({});
    expect(afterCut(disk, 'nothing')).toEqual({ a: 'data' });
    disk.root.sync(4);
    expect(afterCut(disk, 'everything')).toEqual({ a: 'data' });
    disk.rename(['a'], ['b'], 5);
    expect(afterCut(disk, 'everything')).toEqual({ a: 'data' });
    expect(afterCut(disk, 'nothing')).toEqual({ b: 'data' });
  });

  it('does not count a write that ended after the sync had begun', () => {
    const disk = new LossyDisk();
    disk.create(['a'], 'file', 1);
    disk.root.sync(2);
    fileIn(disk, 'a').edit({ kind: 'write', offset: 0, data: Buffer.from('late'), at: 5 });
    fileIn(disk, 'a').sync(4);
    expect(afterCut(disk, 'everything')).toEqual({ a: '' });
  });

  it('tears at sectors and never within one', () => {
    const disk = new LossyDisk();
    disk.create(['a'], 'file', 1);
    fileIn(disk, 'a').edit({ kind: 'write', offset: 0, data: Buffer.alloc(2048, 'o'), at: 2 });
    disk.root.sync(3);
    fileIn(disk, 'a').sync(3);
    fileIn(disk, 'a').edit({ kind: 'write', offset: 0, data: Buffer.alloc(2048, 'n'), at: 4 });
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed += 1) {
      const content = afterCut(disk, 'some', seed)['a'] ?? '';
      const sectors = [0, 1, 2, 3].map((sector) => content.slice(sector * 512, (sector + 1) * 512));
      for (const sector of sectors) expect(['o'.repeat(512), 'n'.repeat(512)]).toContain(sector);
      seen.add(sectors.map(([first]) => first).join(''));
    }
    expect(seen.size).toBeGreaterThan(8);
  });
});
