import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { btrfsPlace, btrfsSkipReason, compsize } from '../../../../test/support/btrfs.ts';
import { forge } from '../../../../test/support/forged-stream.ts';
import { type DatasetId, newDatasetId } from '../../../kit/ids.ts';
import type { Backend, CopyEngine } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const skip = await btrfsSkipReason('/usr/sbin/compsize');

describe.skipIf(skip !== null)(`copies of btrfs volumes${skip ?? ''}`, () => {
  let worlds: readonly [BackendWorld, BackendWorld];
  let a: Backend;
  let b: Backend;

  beforeEach(async () => {
    worlds = [
      await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace),
      await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace),
    ];
    [a, b] = [await worlds[0].node('a'), await worlds[1].node('b')];
  });

  afterEach(async () => {
    const problems: unknown[] = [...(await worlds[0].teardown('a')), ...(await worlds[1].teardown('b'))];
    for (const world of worlds) problems.push(...(await world.close()));
    expect(problems).toEqual([]);
  });

  const signal = (): AbortSignal => worlds[0].signal;
  const engine = (backend: Backend): CopyEngine => {
    if (backend.copies === undefined) throw new Error('btrfs copies volumes');
    return backend.copies;
  };
  const inA = (id: DatasetId, ...rest: readonly string[]): string => join(worlds[0].mountRoot('a'), id, ...rest);
  const inB = (id: DatasetId, ...rest: readonly string[]): string => join(worlds[1].mountRoot('b'), id, ...rest);
  /** A detached volume with something in it. */
  const volume = async (fill: (path: string) => Promise<unknown>, profile = 'gold'): Promise<DatasetId> => {
    const datasetId = newDatasetId(randomUUID);
    const metadata = { 'clusterhq:flocker:profile': profile, name: 'web' };
    await a.create({ datasetId, sizeBytes: 128 * MIB, metadata }, signal());
    await a.attach(datasetId, signal());
    await a.mount(datasetId, signal());
    await fill(inA(datasetId));
    await a.unmount(datasetId, signal());
    await a.detach(datasetId, signal());
    return datasetId;
  };
  const copy = async (id: DatasetId, copyId: string, until = signal()): Promise<void> => {
    const given = await engine(a).give(id, until);
    try {
      await engine(b).fetch(id, copyId, given.record, given.bytes, until);
    } finally {
      await given.close();
    }
  };
  const mountInB = async (id: DatasetId): Promise<void> => {
    await b.attach(id, signal());
    await b.mount(id, signal());
  };
  const left = async (): Promise<string[]> => [
    ...(await readdir(join(worlds[0].rootPath, 'creating', 'a'))),
    ...(await readdir(join(worlds[1].rootPath, 'creating', 'b'))),
  ];

  it('have the bytes, the size and the compression of the volume, and leave it as it was', async () => {
    const bytes = randomBytes(8 * MIB);
    const id = await volume(async (path) => {
      await writeFile(join(path, 'bytes'), bytes);
      await writeFile(join(path, 'text'), 'the same again and again\n'.repeat(400_000));
    }, 'bronze');
    const copyId = randomUUID();
    expect(await engine(b).find(id)).toBeUndefined();
    await copy(id, copyId);
    expect(await engine(b).find(id)).toEqual({ id: copyId, sizeBytes: 128 * MIB });
    expect(await engine(a).find(id)).toBeUndefined();
    expect(await a.discover(id)).toEqual({ kind: 'detached', sizeBytes: 128 * MIB });
    expect(await left()).toEqual([]);
    // Once more changes nothing, as after a kill before it was told.
    await engine(b).fetch(id, copyId, { sizeBytes: 1, profile: null, name: null }, Readable.from([]), signal());
    await mountInB(id);
    expect((await readFile(inB(id, 'bytes'))).equals(bytes)).toBe(true);
    const usage = await b.usage?.(id, signal());
    expect((usage?.usedBytes ?? 0) + (usage?.availableBytes ?? 0)).toBe(128 * MIB);
    await run('sync', ['-f', inB(id)]);
    const text = await compsize(inB(id, 'text'));
    expect(text.stored).toBeLessThan(text.uncompressed / 10);
    await writeFile(inB(id, 'more'), 'the same again and again\n'.repeat(400_000));
    await run('sync', ['-f', inB(id)]);
    expect((await compsize(inB(id, 'more'))).stored).toBeLessThan(MIB);
  });

  it('refuse what is not at rest, what is not there, and what a stream does not carry', async () => {
    const id = await volume(() => Promise.resolve());
    await a.attach(id, signal());
    await expectCode(engine(a).give(id, signal()), 'backend_failed', id);
    await a.mount(id, signal());
    await run('btrfs', ['subvolume', 'create', inA(id, 'inner')]);
    await a.unmount(id, signal());
    await a.detach(id, signal());
    expect(await expectCode(engine(a).give(id, signal()), 'conflict', id)).toContain('1 subvolumes');
    const unknown = newDatasetId(randomUUID);
    await expectCode(engine(a).give(unknown, signal()), 'volume_lost', unknown);
    expect(await left()).toEqual([]);
  });

  it('do not become a volume when they break off, nor where there is one', async () => {
    const id = await volume((path) => writeFile(join(path, 'bytes'), randomBytes(4 * MIB)));
    const given = await engine(a).give(id, signal());
    const stream = await buffer(given.bytes);
    await given.close();
    const fetched = (bytes: Readable): Promise<void> =>
      engine(b).fetch(id, randomUUID(), given.record, bytes, signal());
    await expect(fetched(Readable.from([stream.subarray(0, stream.length / 2)]))).rejects.toThrow(id);
    await expect(fetched(Readable.from([randomBytes(1000)]))).rejects.toThrow(id);
    const broken = Readable.from(
      (async function* () {
        yield stream;
        await Promise.resolve();
        throw new Error('the sum is another one');
      })(),
    );
    await expect(fetched(broken)).rejects.toThrow('the sum is another one');
    const ended = AbortSignal.timeout(50);
    await expect(
      engine(b).fetch(id, randomUUID(), given.record, Readable.from(drip(stream)), ended),
    ).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(await b.discover(id)).toEqual({ kind: 'absent' });
    expect(await left()).toEqual([]);
    await copy(id, randomUUID());
    await expectCode(copy(id, randomUUID()), 'conflict', id);
    expect(await left()).toEqual([]);
  });

  it('cannot write outside of their place, whatever the stream says', async () => {
    const outside = join(worlds[1].directory, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'file'), 'kept as it was');
    const id = await volume(async (path) => {
      await run('ln', ['-s', outside, join(path, 'aaaaaaaaaa')]);
      await mkdir(join(path, 'bbbbbbbbbb'));
      await writeFile(join(path, 'bbbbbbbbbb', 'file'), 'written');
    });
    const given = await engine(a).give(id, signal());
    const stream = await buffer(given.bytes);
    await given.close();
    // What is written to a file in the directory is written through the link.
    const forged = forge(stream, Buffer.from('bbbbbbbbbb/'), Buffer.from('aaaaaaaaaa/'));
    expect(forged.equals(stream)).toBe(false);
    await expect(engine(b).fetch(id, randomUUID(), given.record, Readable.from([forged]), signal())).rejects.toThrow(
      'aaaaaaaaaa/file',
    );
    expect(await readFile(join(outside, 'file'), 'utf8')).toBe('kept as it was');
  });

  it('are whole or not there when either side is killed', async () => {
    const bytes = randomBytes(24 * MIB);
    const id = await volume((path) => writeFile(join(path, 'bytes'), bytes));
    const file = join(worlds[0].directory, 'stream');
    const given = await engine(a).give(id, signal());
    await writeFile(file, given.bytes);
    await given.close();
    const { size } = await stat(file);
    expect(size).toBeGreaterThan(24 * MIB);
    const copyId = randomUUID();
    for (const afterMs of [0, 10, 20, 40, 60, 80, 120, 160]) {
      const child = await worlds[1].agentThat(
        'b',
        `const { createReadStream } = await import('node:fs');
         await backend.copies.fetch('${id}', '${copyId}', ${JSON.stringify(given.record)}, createReadStream('${file}'), signal);`,
      );
      child.stdin?.write('go\n');
      await sleep(afterMs);
      await worlds[1].end(child);
      b = await worlds[1].node('b');
      expect(await readdir(join(worlds[1].rootPath, 'creating', 'b'))).toEqual([]);
      const found = await engine(b).find(id);
      if (found === undefined) expect(await b.discover(id)).toEqual({ kind: 'absent' });
      else {
        await mountInB(id);
        expect((await readFile(inB(id, 'bytes'))).equals(bytes)).toBe(true);
        await b.unmount(id, signal());
        await b.detach(id, signal());
        await b.destroy(id, signal());
      }
    }
  });
});

async function* drip(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 1000) {
    yield bytes.subarray(at, at + 1000);
    await sleep(5);
  }
}
