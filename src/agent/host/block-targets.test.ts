import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, open, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../kit/clock.ts';
import { BlockTargets } from './block-targets.ts';
import { type Kernel, loadKernel } from './kernel.ts';
import { LoopDevices } from './loop-devices.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const NOTHING: ReadonlySet<'writable' | 'readOnly'> = new Set();
const usable = await access('/dev/loop-control').then(
  () => geteuid?.() === 0,
  () => false,
);
const why = usable ? '' : ' (skipped: needs root and loop devices)';

describe.skipIf(!usable)(`BlockTargets${why}`, () => {
  const kernel = loadKernel();
  const targets = new BlockTargets(kernel, systemClock);
  let directory: string;
  let volume: string;
  let target: string;

  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'flocker-block-')));
    [volume, target] = [join(directory, 'volume'), join(directory, 'target')];
    await mkdir(volume);
    await targets.prepare(volume, 8 * MIB);
  });
  afterEach(async () => {
    await targets.hide(target);
    await targets.hide(`${target}-2`);
    expect(await detach()).toEqual([]);
    expect(await devices()).toEqual([]);
    await rm(directory, { recursive: true });
  });
  const detach = (keep = NOTHING) => targets.detach(volume, keep, AbortSignal.timeout(10_000));
  const devices = async (): Promise<string[]> => {
    const all = await new LoopDevices(kernel).bound();
    return all.filter(({ backingPath }) => backingPath.startsWith(directory)).map(({ number }) => `/dev/loop${number}`);
  };
  /** Writes through the page cache of the device and waits for the disk. */
  const write = async (path: string, text: string): Promise<void> => {
    const file = await open(path, constants.O_RDWR);
    try {
      await file.write(text, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  };

  it('shows a device of exactly the size, and again the same one', async () => {
    await targets.show(volume, target, false);
    await targets.show(volume, target, false);
    await targets.show(volume, `${target}-2`, false);
    expect((await stat(target)).isBlockDevice()).toBe(true);
    expect(await devices()).toHaveLength(1);
    expect((await run('blockdev', ['--getsize64', target])).stdout.trim()).toBe(String(8 * MIB));
    await write(target, 'kept');
    expect((await readFile(join(volume, 'volume.block'))).subarray(0, 4).toString()).toBe('kept');
    expect((await stat(join(volume, 'volume.block'))).mode & 0o777).toBe(0o600);
    await targets.hide(target);
    await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await readFile(`${target}-2`)).subarray(0, 4).toString()).toBe('kept');
  });

  it('shows a device that cannot be written to beside one that can', async () => {
    await targets.show(volume, target, false);
    await write(target, 'kept');
    await targets.show(volume, `${target}-2`, true);
    await expect(write(`${target}-2`, 'lost')).rejects.toThrow(/EPERM|EACCES|EROFS/);
    expect((await readFile(`${target}-2`)).subarray(0, 4).toString()).toBe('kept');
    expect(await devices()).toHaveLength(2);
    await targets.hide(`${target}-2`);
    await detach(new Set(['writable']));
    expect(await devices()).toHaveLength(1);
    await write(target, 'more');
  });

  it('grows under whoever has it open, and never shrinks', async () => {
    await targets.show(volume, target, false);
    const file = await open(target, 'r');
    await targets.prepare(volume, 16 * MIB);
    await targets.prepare(volume, 4 * MIB);
    expect((await run('blockdev', ['--getsize64', target])).stdout.trim()).toBe(String(16 * MIB));
    await file.close();
  });

  it('says which device is open, and takes it up again when it is shown again before it was closed', async () => {
    await targets.show(volume, target, false);
    const [device = ''] = await devices();
    const file = await open(device, 'r+');
    await targets.hide(target);
    expect(await detach()).toEqual([device]);
    await targets.show(volume, target, false);
    expect(await devices()).toEqual([device]);
    await file.close();
    await write(target, 'kept');
    await targets.hide(target);
    expect(await detach()).toEqual([]);
  });

  it('refuses to end what is open at the target', async () => {
    await targets.show(volume, target, false);
    const file = await open(target, 'r');
    await expect(targets.hide(target)).rejects.toMatchObject({ code: 'EBUSY' });
    await file.close();
  });

  it('leaves nothing that a second call does not use or end, whichever call was the last before the end', async () => {
    for (let calls = 0; ; calls += 1) {
      const cut = new BlockTargets(endingAfter(kernel, calls), systemClock);
      const done = await cut.show(volume, target, false).then(
        () => true,
        () => false,
      );
      expect((await devices()).length).toBeLessThanOrEqual(1);
      if (calls % 2 === 0) await targets.show(volume, target, false);
      await targets.hide(target);
      expect(await detach()).toEqual([]);
      expect(await devices()).toEqual([]);
      if (done) break;
    }
  });

  it.each([
    ['a directory', (path: string) => mkdir(path)],
    ['a symbolic link', (path: string) => symlink('/usr/bin/env', path)],
    ['a file that is not empty', (path: string) => writeFile(path, 'text')],
  ])('refuses %s', async (_what, make) => {
    await make(target);
    await expect(targets.show(volume, target, false)).rejects.toMatchObject({ code: 'bad_target' });
    await targets.hide(target);
    await rm(target, { recursive: true });
  });

  it('refuses what leads into the system, and what is no file in the volume', async () => {
    await symlink('/etc', join(directory, 'link'));
    const inside = join(directory, 'link', 'data');
    await expect(targets.show(volume, inside, false)).rejects.toMatchObject({ code: 'bad_target' });
    await expect(targets.show(volume, join(directory, 'none', 'x'), false)).rejects.toMatchObject({
      code: 'no_parent',
    });
    const other = join(directory, 'other');
    await mkdir(other);
    await symlink('/etc/passwd', join(other, 'volume.block'));
    await expect(targets.prepare(other, MIB)).rejects.toMatchObject({ code: 'ELOOP' });
  });
});

/** A kernel that fails every call after so many, as nothing is done any more once a process has ended. */
function endingAfter(kernel: Kernel, calls: number): Kernel {
  let left = calls;
  const counted = <Args extends unknown[], Result>(call: (...args: Args) => Promise<Result>) => {
    return (...args: Args): Promise<Result> => {
      left -= 1;
      return left < 0 ? Promise.reject(new Error('the process has ended')) : call(...args);
    };
  };
  return {
    ...kernel,
    mount: counted((call: Parameters<Kernel['mount']>[0]) => kernel.mount(call)),
    unmount: counted((path: string) => kernel.unmount(path)),
    ioctl: counted((fd: number, request: number, argument: Buffer | null) => kernel.ioctl(fd, request, argument)),
  };
}
