import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { btrfsPlace, btrfsSkipReason } from '../../../../test/support/btrfs.ts';
import { forge } from '../../../../test/support/forged-stream.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../../kit/ids.ts';
import { loadKernel } from '../../host/kernel.ts';
import type { Backend, CopyBases, CopyEngine, CopyLineage } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const DATA_MIB = 24;
/** Of the test that starts many processes. */
const TIMEOUT_MS = 110_000;
const skip = await btrfsSkipReason();
/** Contents and all that is known of each file, times and attributes included. */
const SUM =
  'cd "$1" && tar --xattrs --xattrs-include=\'user.*\' --sort=name --numeric-owner --format=posix ' +
  '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf - -- * | sha256sum';

interface Node {
  readonly name: string;
  readonly world: BackendWorld;
  backend: Backend;
}

interface Copied extends CopyLineage {
  readonly bytes: number;
}

describe.skipIf(skip !== null)(`copies of btrfs volumes that build on others${skip ?? ''}`, () => {
  let a: Node;
  let b: Node;

  beforeEach(async () => {
    const node = async (name: string): Promise<Node> => {
      const world = await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace);
      return { name, world, backend: await world.node(name) };
    };
    [a, b] = [await node('a'), await node('b')];
  });

  afterEach(async () => {
    const problems: unknown[] = [];
    for (const { world, name } of [a, b]) problems.push(...(await world.teardown(name)), ...(await world.close()));
    expect(problems).toEqual([]);
  });

  const signal = (): AbortSignal => a.world.signal;
  const engine = ({ backend }: Node): CopyEngine => {
    if (backend.copies === undefined) throw new Error('btrfs copies volumes');
    return backend.copies;
  };
  const inside = ({ world, name }: Node, id: DatasetId, ...rest: readonly string[]): string =>
    join(world.mountRoot(name), id, ...rest);
  const sum = async (node: Node, id: DatasetId): Promise<string> =>
    (await run('sh', ['-c', SUM, 'sh', inside(node, id)])).stdout;
  const mounted = async <T>(node: Node, id: DatasetId, work: () => Promise<T>): Promise<T> => {
    await node.backend.attach(id, signal());
    await node.backend.mount(id, signal());
    const result = await work();
    await node.backend.unmount(id, signal());
    await node.backend.detach(id, signal());
    return result;
  };
  const snapshot = async (node: Node, id: DatasetId): Promise<SnapshotId> => {
    const snapshotId = parseSnapshotId(randomUUID()) as SnapshotId;
    await node.backend.snapshots?.take(snapshotId, id, signal());
    return snapshotId;
  };
  const fill = (path: string): Promise<void> => writeFile(join(path, 'bytes'), randomBytes(DATA_MIB * MIB));
  /** A detached volume in A with a snapshot of it, and with what was done to it after that. */
  const volume = async (
    before: (path: string) => Promise<unknown> = fill,
    after: (path: string) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<{ readonly id: DatasetId; readonly snapshotId: SnapshotId; readonly sum: string }> => {
    const id = newDatasetId(randomUUID);
    await a.backend.create({ datasetId: id, sizeBytes: 128 * MIB, metadata: {} }, signal());
    const made = await mounted(a, id, async () => {
      await before(inside(a, id));
      const snapshotId = await snapshot(a, id);
      await after(inside(a, id));
      return { snapshotId, sum: await sum(a, id) };
    });
    return { id, ...made };
  };
  const copy = async (from: Node, to: Node, id: DatasetId, asked?: CopyBases): Promise<Copied> => {
    const given = await engine(from).give(id, signal(), asked ?? (await engine(to).bases(id)));
    let bytes = 0;
    const counted = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of given.bytes as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        yield chunk;
      }
    };
    const { against, along, record } = given;
    try {
      const stream = Readable.from(counted(), { objectMode: false });
      await engine(to).fetch(id, randomUUID(), record, stream, signal(), along);
    } finally {
      await given.close();
    }
    return { against, along, bytes };
  };
  const move = async (from: Node, to: Node, id: DatasetId): Promise<Copied> => {
    const copied = await copy(from, to, id);
    await from.backend.destroy(id, signal());
    return copied;
  };
  const subvolumes = async ({ world }: Node): Promise<readonly string[]> => {
    const { stdout } = await run('btrfs', ['subvolume', 'list', join(world.rootPath, '..')]);
    return [...stdout.matchAll(/ path pool\/(.*)$/gm)].map(([, path = '']) => path).toSorted();
  };
  const baseIn = ({ world }: Node, id: DatasetId): string => join(world.rootPath, 'unattached', id, 'base');

  it('bring what was changed, there and back, with all that a file can be', async () => {
    const made = await volume(
      async (path) => {
        await fill(path);
        await run('sh', [
          '-c',
          'cd "$1" && mkdir d && seq 9999 > d/gone && seq 9999 > cut && ln cut twice',
          'sh',
          path,
        ]);
      },
      (path) => writeFile(join(path, 'later'), 'after the snapshot'),
    );
    const { id, snapshotId } = made;
    const there = await move(a, b, id);
    expect(there).toMatchObject({ against: null, along: expect.any(String) as string });
    expect(there.bytes).toBeLessThan((DATA_MIB + 2) * MIB);
    expect(await subvolumes(a)).toEqual([`snapshots/${snapshotId}/data`]);
    expect(await subvolumes(b)).toEqual([`unattached/${id}/base/data`, `unattached/${id}/data`]);
    const changed = await mounted(b, id, async () => {
      expect(await sum(b, id)).toBe(made.sum);
      const changes =
        'cd "$1" && rm d/gone twice && mv d e && truncate -s 100 cut && chmod 4711 later && chown 7:8 e && ' +
        'fallocate -p -o 1M -l 3M bytes && head -c 1M /dev/urandom > e/new && truncate -s 5M e/hole && ' +
        'ln -s ../bytes e/link && mkfifo e/fifo && touch -d 2001-02-03 "e/odd \\$name" && ' +
        'dd if=/dev/zero of=bytes bs=4k seek=9 count=2 conv=notrunc status=none && mv bytes e/renamed';
      await run('sh', ['-c', changes, 'sh', inside(b, id)]);
      const file = await open(inside(b, id, 'later'));
      await loadKernel().setAttribute(file.fd, 'user.colour', 'green');
      await file.close();
      return await sum(b, id);
    });
    expect(changed).not.toBe(made.sum);
    const back = await move(b, a, id);
    expect(back).toMatchObject({ against: there.along, along: null });
    // The new file, the zeros where the hole is, and little else.
    expect(back.bytes).toBeLessThan(6 * MIB);
    await mounted(a, id, async () => expect(await sum(a, id)).toBe(changed));
    expect(await subvolumes(a)).toEqual([`snapshots/${snapshotId}/data`, `unattached/${id}/data`]);
    expect(await subvolumes(b)).toEqual([]);
    await a.backend.destroy(id, signal());
    await a.backend.snapshots?.destroy(snapshotId, signal());
    expect(await subvolumes(a)).toEqual([]);
  });

  it('go to and fro where both nodes have snapshots', async () => {
    const { id, sum: before } = await volume();
    await move(a, b, id);
    await mounted(b, id, () => snapshot(b, id));
    for (const [from, to] of [
      [b, a],
      [a, b],
      [b, a],
    ] as const) {
      const copied = await move(from, to, id);
      expect(copied.against).not.toBeNull();
      expect(copied.bytes).toBeLessThan(MIB);
      await mounted(to, id, async () => expect(await sum(to, id)).toBe(before));
    }
  });

  it('bring all when there is nothing to build on any more', async () => {
    const { id, snapshotId, sum: before } = await volume();
    await move(a, b, id);
    await run('btrfs', ['subvolume', 'delete', join(baseIn(b, id), 'data')]);
    expect(await copy(b, a, id)).toMatchObject({ against: null, along: null });
    await a.backend.destroy(id, signal());
    await a.backend.snapshots?.destroy(snapshotId, signal());
    expect(await engine(a).bases(id)).toEqual({ known: [], keepsOne: true });
    const back = await move(b, a, id);
    expect(back.bytes).toBeGreaterThan(DATA_MIB * MIB);
    await mounted(a, id, async () => expect(await sum(a, id)).toBe(before));
    expect([...(await subvolumes(a)), ...(await subvolumes(b))]).toEqual([`unattached/${id}/data`]);
  });

  it('fail, and leave nothing, when what they build on is gone by then', async () => {
    const { id, snapshotId } = await volume();
    await move(a, b, id);
    const asked = await engine(a).bases(id);
    await a.backend.snapshots?.destroy(snapshotId, signal());
    await expect(copy(b, a, id, asked)).rejects.toThrow(id);
    expect(await a.backend.discover(id)).toEqual({ kind: 'absent' });
    expect(await subvolumes(a)).toEqual([]);
    expect(await readdir(join(a.world.rootPath, 'creating', 'a'))).toEqual([]);
    expect(await subvolumes(b)).toEqual([`unattached/${id}/base/data`, `unattached/${id}/data`]);
  });

  it('do not keep what they build on from being destroyed', async () => {
    const { id, snapshotId } = await volume();
    const ended = new Promise<unknown>((resolve) => {
      void engine(a)
        .give(id, signal(), { known: [], keepsOne: true })
        .then(async (given) => {
          // Nobody reads on: the pipe is full, and the kernel in the midst of it.
          given.bytes.once('readable', () => void a.backend.snapshots?.destroy(snapshotId, signal()));
          given.bytes.once('error', (error) => void given.close().then(() => resolve(error)));
        });
    });
    expect(await ended).toMatchObject({ code: 'in_progress' });
    await expect.poll(() => subvolumes(a), { timeout: 20_000 }).toEqual([`unattached/${id}/data`]);
    await copy(a, b, id);
    expect(await a.backend.snapshots?.find(snapshotId)).toBeUndefined();
  });

  it('keep nothing that takes much room', async () => {
    const { id } = await volume();
    await move(a, b, id);
    const changed = await mounted(b, id, async () => {
      await fill(inside(b, id));
      return await sum(b, id);
    });
    expect(await subvolumes(b)).toEqual([`unattached/${id}/data`]);
    expect(await move(b, a, id)).toMatchObject({ against: null });
    await mounted(a, id, async () => expect(await sum(a, id)).toBe(changed));
    // Here it is the snapshot that has become expensive.
    expect(await move(a, b, id)).toMatchObject({ against: null, along: null });
    expect(await subvolumes(b)).toEqual([`unattached/${id}/data`]);
  });

  it('are as they were for a node that knows of no bases', async () => {
    const { id } = await volume();
    const given = await engine(a).give(id, signal());
    expect(given).toMatchObject({ against: null, along: null });
    await engine(b).fetch(id, randomUUID(), given.record, given.bytes, signal());
    await given.close();
    expect(await subvolumes(b)).toEqual([`unattached/${id}/data`]);
    // Nor does anything stay that was not named.
    await b.backend.destroy(id, signal());
    const second = await engine(a).give(id, signal(), { known: [], keepsOne: true });
    await engine(b).fetch(id, randomUUID(), second.record, second.bytes, signal(), randomUUID());
    await second.close();
    expect(await subvolumes(b)).toEqual([`unattached/${id}/data`]);
  });

  it('cannot write outside of their place in the second stream either', async () => {
    const outside = join(b.world.directory, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'file'), 'kept as it was');
    const { id } = await volume(
      async (path) => {
        await fill(path);
        await run('ln', ['-s', outside, join(path, 'aaaaaaaaaa')]);
        await mkdir(join(path, 'bbbbbbbbbb'));
      },
      (path) => writeFile(join(path, 'bbbbbbbbbb', 'file'), 'written'),
    );
    const given = await engine(a).give(id, signal(), { known: [], keepsOne: true });
    expect(given.along).not.toBeNull();
    const stream = await buffer(given.bytes);
    await given.close();
    const forged = forge(stream, Buffer.from('bbbbbbbbbb/'), Buffer.from('aaaaaaaaaa/'));
    expect(forged.equals(stream)).toBe(false);
    await expect(
      engine(b).fetch(id, randomUUID(), given.record, Readable.from([forged]), signal(), given.along),
    ).rejects.toThrow('aaaaaaaaaa/file');
    expect(await readFile(join(outside, 'file'), 'utf8')).toBe('kept as it was');
    expect(await subvolumes(b)).toEqual([]);
  });

  it(
    'are whole or not there when either side is killed',
    async () => {
      const { id, sum: before } = await volume(fill, (path) => writeFile(join(path, 'more'), randomBytes(MIB)));
      const asked: CopyBases = { known: [], keepsOne: true };
      const inA = await subvolumes(a);
      for (const afterMs of [0, 20, 60, 120]) {
        const child = await a.world.agentThat(
          'a',
          `const given = await backend.copies.give('${id}', signal, ${JSON.stringify(asked)});
         for await (const chunk of given.bytes) await new Promise((resolve) => setTimeout(resolve, chunk.length / 1e6));`,
        );
        child.stdin?.write('go\n');
        await sleep(afterMs);
        await a.world.end(child);
        a.backend = await a.world.node('a');
        expect(await readdir(join(a.world.rootPath, 'creating', 'a'))).toEqual([]);
        expect(await subvolumes(a)).toEqual(inA);
      }
      const file = join(a.world.directory, 'stream');
      const given = await engine(a).give(id, signal(), asked);
      await pipeline(given.bytes, createWriteStream(file));
      await given.close();
      expect((await stat(file)).size).toBeGreaterThan(DATA_MIB * MIB);
      for (const afterMs of [0, 20, 40, 60, 80, 100, 120, 160, 200, 250]) {
        const child = await b.world.agentThat(
          'b',
          `const { createReadStream } = await import('node:fs');
         await backend.copies.fetch('${id}', '${randomUUID()}', ${JSON.stringify(given.record)}, createReadStream('${file}'), signal, '${given.along}');`,
        );
        child.stdin?.write('go\n');
        await sleep(afterMs);
        await b.world.end(child);
        b.backend = await b.world.node('b');
        expect(await readdir(join(b.world.rootPath, 'creating', 'b'))).toEqual([]);
        if ((await b.backend.discover(id)).kind === 'absent') expect(await subvolumes(b)).toEqual([]);
        else {
          expect(await subvolumes(b)).toEqual([`unattached/${id}/base/data`, `unattached/${id}/data`]);
          await mounted(b, id, async () => expect(await sum(b, id)).toBe(before));
          await b.backend.destroy(id, signal());
          expect(await subvolumes(b)).toEqual([]);
        }
      }
    },
    TIMEOUT_MS,
  );
});
