import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { STATUS } from './csi-error.ts';
import { CsiBench, writable } from './testing/csi-bench.ts';

const GIB = 1n << 30n;

describe('Snapshots and clones', () => {
  let bench: CsiBench;
  beforeEach(async () => {
    bench = await CsiBench.start();
  });
  afterEach(() => bench.close());

  const take = async (sourceVolumeId: string, name: string): Promise<string> =>
    (await bench.csi.controller.createSnapshot({ sourceVolumeId, name })).snapshot?.snapshotId ?? '';
  const listed = async (filter: object = {}): Promise<(string | undefined)[]> =>
    (await bench.csi.controller.listSnapshots(filter)).entries.map(({ snapshot }) => snapshot?.snapshotId);
  const copy = (name: string, source: object, requiredBytes = GIB) =>
    bench.csi.controller.createVolume({
      name,
      capacityRange: { requiredBytes },
      volumeCapabilities: [writable()],
      volumeContentSource: { type: source } as object,
    });
  const allSnapshots = () => bench.cluster.flocker.client.listSnapshots({}, AbortSignal.timeout(5_000));

  it('takes a snapshot once for a name, and refuses the name for another volume', async () => {
    const one = await bench.create('one');
    const two = await bench.create('two');
    const answer = await bench.csi.controller.createSnapshot({ sourceVolumeId: one, name: 'daily' });
    expect(answer.snapshot).toMatchObject({ sourceVolumeId: one, readyToUse: true, sizeBytes: GIB });
    expect(answer.snapshot?.creationTime).toBeDefined();
    const ids = await Promise.all([take(one, 'daily'), take(one, 'daily')]);
    expect(new Set([...ids, answer.snapshot?.snapshotId]).size).toBe(1);
    await expect(take(two, 'daily')).rejects.toMatchObject({ code: STATUS.ALREADY_EXISTS });
  });

  it('takes one of a name anew once the first is deleted', async () => {
    const volume = await bench.create('one');
    const first = await take(volume, 'daily');
    await bench.csi.controller.deleteSnapshot({ snapshotId: first });
    await bench.csi.controller.deleteSnapshot({ snapshotId: first });
    await bench.csi.controller.deleteSnapshot({ snapshotId: 'what never was' });
    expect(await listed()).toEqual([]);
    expect(await take(volume, 'daily')).not.toBe(first);
  });

  it('lists snapshots by id, by volume and in pages', async () => {
    const [one, two] = [await bench.create('one'), await bench.create('two')];
    const ids = [await take(one, 'a'), await take(one, 'b'), await take(two, 'c')];
    expect(new Set(await listed())).toEqual(new Set(ids));
    expect(await listed({ snapshotId: ids[0] })).toEqual([ids[0]]);
    expect(await listed({ snapshotId: 'none' })).toEqual([]);
    expect(await listed({ sourceVolumeId: two })).toEqual([ids[2]]);
    const first = await bench.csi.controller.listSnapshots({ maxEntries: 2 });
    expect(first.entries).toHaveLength(2);
    expect(await listed({ startingToken: first.nextToken })).toEqual(ids.toSorted().slice(2));
    await expect(listed({ startingToken: 'none' })).rejects.toMatchObject({ code: STATUS.ABORTED });
  });

  it('makes a volume from a snapshot, as large as it at least', async () => {
    const volume = await bench.create('one', 2n * GIB);
    const snapshotId = await take(volume, 'daily');
    const source = { case: 'snapshot', value: { snapshotId } };
    const { volume: made } = await copy('restored', source);
    expect(made).toMatchObject({ capacityBytes: 2n * GIB, contentSource: { type: source } });
    expect((await copy('restored', source)).volume?.volumeId).toBe(made?.volumeId);
    await expect(bench.create('restored')).rejects.toMatchObject({ code: STATUS.ALREADY_EXISTS });
    const missing = { case: 'snapshot', value: { snapshotId: 'none' } };
    await expect(copy('nothing', missing)).rejects.toMatchObject({ code: STATUS.NOT_FOUND });
  });

  it('clones a volume and leaves no snapshot behind', async () => {
    const volumeId = await bench.create('one');
    const source = { case: 'volume', value: { volumeId } };
    const first = await copy('copy', source);
    expect((await copy('copy', source)).volume?.volumeId).toBe(first.volume?.volumeId);
    expect(first.volume?.volumeId).not.toBe(volumeId);
    expect(await allSnapshots()).toEqual([]);
    // The same again after it was deleted.
    await bench.csi.controller.deleteVolume({ volumeId: first.volume?.volumeId ?? '' });
    await copy('copy', source);
    expect(await allSnapshots()).toEqual([]);
    const missing = { case: 'volume', value: { volumeId: '00000000-0000-4000-8000-000000000000' } };
    await expect(copy('nothing', missing)).rejects.toMatchObject({ code: STATUS.NOT_FOUND });
  });

  it('goes on with a clone that was cut off after its volume was made, and tidies up when it is deleted instead', async () => {
    const volumeId = await bench.create('one');
    const source = { case: 'volume', value: { volumeId } };
    await bench.stopAgent();
    const cut = { deleteSnapshot: () => Promise.reject(new Error('the agent was killed')) };
    await bench.startAgent({}, cut as object);
    await expect(copy('copy', source)).rejects.toMatchObject({ code: STATUS.INTERNAL });
    await expect(copy('other', source)).rejects.toMatchObject({ code: STATUS.INTERNAL });
    expect(await allSnapshots()).toHaveLength(2);
    expect(await listed()).toEqual([]);
    await bench.stopAgent();
    await bench.startAgent();
    const { volume } = await copy('copy', source);
    expect(volume?.volumeId).toBeDefined();
    await bench.csi.controller.deleteVolume({ volumeId: 'other' });
    expect(await allSnapshots()).toEqual([]);
  });
});
