import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, open, readFile, realpath, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadKernel } from './kernel.ts';
import { LoopDevices } from './loop-devices.ts';
import { mountsAt, readMountTable } from './mount-table.ts';
import { ensureSharedMountRoot, removeSharedMountRoot } from './shared-mount-root.ts';

const run = promisify(execFile);
const usable = await access('/dev/loop-control').then(
  () => geteuid?.() === 0,
  () => false,
);
const why = usable ? '' : ' (skipped: needs root and loop devices)';

describe.skipIf(!usable)(`host${why}`, () => {
  let directory: string;
  const kernel = loadKernel();

  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'host-')));
  });
  afterEach(async () => {
    const below = (await readMountTable()).filter(({ mountPoint }) => mountPoint.startsWith(`${directory}/`));
    for (const { mountPoint } of below.toReversed()) await run('umount', [mountPoint]);
    await rm(directory, { recursive: true });
  });

  it('attaches thirty files at once to thirty devices, which free themselves', async () => {
    const loops = new LoopDevices(kernel);
    const others = new LoopDevices(kernel);
    const attached = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const file = await open(join(directory, `${index}`), 'wx+');
        await file.truncate(1024 * 1024);
        const device = await (index % 2 === 0 ? loops : others).attach(file, index % 3 === 0);
        const identity = await file.stat({ bigint: true });
        await file.close();
        return { device, identity, number: Number(device.path.slice('/dev/loop'.length)) };
      }),
    );
    expect(new Set(attached.map(({ number }) => number)).size).toBe(30);
    await rename(join(directory, '0'), join(directory, 'renamed'));
    const [first, second] = attached;
    if (first === undefined || second === undefined) throw new Error('nothing attached');
    expect(await loops.backingPath(first.number)).toBe(join(directory, 'renamed'));
    const held = await loops.hold(first.number, first.identity);
    expect(held?.path).toBe(first.device.path);
    await held?.close();
    expect(await loops.hold(first.number, second.identity)).toBeUndefined();
    await Promise.all(attached.map(({ device }) => device.close()));
    expect((await loops.bound()).filter(({ backingPath }) => backingPath.startsWith(directory))).toEqual([]);
    expect(await loops.hold(first.number, first.identity)).toBeUndefined();
  });

  it('keeps a lock on the file for as long as the device has it', async () => {
    const file = await open(join(directory, 'file'), 'wx+');
    await file.truncate(1024 * 1024);
    expect(await kernel.lock(file.fd)).toBe(true);
    const device = await new LoopDevices(kernel).attach(file, false);
    await file.close();
    const again = await open(join(directory, 'file'), 'r+');
    expect(await kernel.lock(again.fd)).toBe(false);
    await device.close();
    expect(await kernel.lock(again.fd)).toBe(true);
    await again.close();
  });

  it('names the errno of a refused call', async () => {
    const nowhere = join(directory, 'nowhere');
    await expect(kernel.unmount(nowhere)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(kernel.unmount(directory)).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(kernel.unmount('/proc/self/cwd')).rejects.toThrow('umount2(/proc/self/cwd)');
    const calls = Array.from({ length: 600 }, () => kernel.unmount(nowhere).catch((error: unknown) => error));
    for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'ENOENT' });
  });

  it('makes a shared mount root once, in a peer group of its own', async () => {
    const parent = join(directory, 'parent');
    const root = join(parent, 'root');
    await mkdir(parent);
    await run('mount', ['--bind', parent, parent]);
    await run('mount', ['--make-shared', parent]);
    expect(await ensureSharedMountRoot(kernel, root)).toBe(root);
    expect(await ensureSharedMountRoot(kernel, root)).toBe(root);
    const table = await readMountTable();
    // The mount at `root` itself propagates into no second place; its group is not its parent's.
    expect(mountsAt(table, root)).toHaveLength(1);
    const group = mountsAt(table, root)[0]?.peerGroup;
    expect(group).not.toBeNull();
    expect(group).not.toBe(mountsAt(table, parent)[0]?.peerGroup);
    await mkdir(join(root, 'volume'));
    await run('mount', ['-t', 'tmpfs', 'none', join(root, 'volume')]);
    expect(mountsAt(await readMountTable(), join(root, 'volume'))).toHaveLength(1);
    await expect(removeSharedMountRoot(kernel, root)).rejects.toMatchObject({ code: 'EBUSY' });
    await run('umount', [join(root, 'volume')]);
    await rm(join(root, 'volume'), { recursive: true });
    await removeSharedMountRoot(kernel, root);
    await removeSharedMountRoot(kernel, root);
    await expect(access(root)).rejects.toThrow('ENOENT');
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(root);
  });
});
