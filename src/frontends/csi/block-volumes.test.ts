import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { storageBytesFor } from './block-size.ts';
import { STATUS } from './csi-error.ts';
import { block, CsiBench, writable } from './testing/csi-bench.ts';

const GIB = 1n << 30n;
const refusal = (code: keyof typeof STATUS, text = '') => ({
  code: STATUS[code],
  details: expect.stringContaining(text) as string,
});

describe('Block volumes', () => {
  let bench: CsiBench;
  beforeEach(async () => {
    bench = await CsiBench.start();
  });
  afterEach(() => bench.close());

  const create = async (name: string, more: object = {}): Promise<string> => {
    const capacityRange = { requiredBytes: GIB, limitBytes: GIB };
    const request = { name, capacityRange, volumeCapabilities: [block()], ...more };
    const { volume } = await bench.csi.controller.createVolume(request);
    expect(volume?.capacityBytes).toBe(GIB);
    return volume?.volumeId ?? '';
  };
  const paths = (target = 'target') => ({
    stagingTargetPath: bench.path('staging'),
    targetPath: bench.path(target),
    volumePath: bench.path(target),
    volumeCapability: block(),
  });
  const configurations = () =>
    [...bench.cluster.flocker.cluster.datasets.values()].map(({ configuration }) => configuration);

  it('are datasets with room for the device, of exactly the size that was asked for', async () => {
    const volumeId = await create('raw');
    expect(await create('raw')).toBe(volumeId);
    expect(configurations()).toMatchObject([
      { maximum_size: storageBytesFor(Number(GIB)), metadata: { 'flocker:block': String(GIB) } },
    ]);
    const { entries } = await bench.csi.controller.listVolumes({});
    expect(entries).toMatchObject([{ volume: { volumeId, capacityBytes: GIB } }]);
  });

  it('are staged, published on one device of each kind, and undone', async () => {
    const volumeId = await create('raw');
    const { node } = bench.csi;
    for (let round = 0; round < 2; round += 1) await node.nodeStageVolume({ volumeId, ...paths() });
    expect([...bench.blocks.sizes.values()]).toEqual([Number(GIB)]);
    for (const target of ['target', 'target', 'second']) await node.nodePublishVolume({ volumeId, ...paths(target) });
    await node.nodePublishVolume({ volumeId, ...paths('third'), readonly: true });
    expect(bench.blocks.devices.size).toBe(2);
    expect(bench.mounts.flags.get(bench.path('third'))).toEqual(new Set(['block', 'ro']));
    await expect(node.nodePublishVolume({ volumeId, ...paths('third') })).rejects.toMatchObject(
      refusal('ALREADY_EXISTS', 'read-only'),
    );
    expect((await node.nodeGetVolumeStats({ volumeId, ...paths() })).usage).toMatchObject([{ total: GIB }]);
    await node.nodeUnpublishVolume({ volumeId, ...paths('third') });
    expect(bench.blocks.devices.size).toBe(1);
    await expect(node.nodeUnstageVolume({ volumeId, ...paths() })).rejects.toMatchObject(
      refusal('FAILED_PRECONDITION', 'published'),
    );
    for (const target of ['target', 'second', 'second']) await node.nodeUnpublishVolume({ volumeId, ...paths(target) });
    expect(bench.blocks.devices.size).toBe(0);
    bench.blocks.open = ['/dev/loop77'];
    await expect(node.nodeUnstageVolume({ volumeId, ...paths() })).rejects.toMatchObject(
      refusal('FAILED_PRECONDITION', '/dev/loop77'),
    );
    expect(bench.leases).toBe(1);
    bench.blocks.open = [];
    await node.nodeUnstageVolume({ volumeId, ...paths() });
    expect(bench.leases).toBe(0);
  });

  it('stay what they are through a restart', async () => {
    const volumeId = await create('raw');
    await bench.csi.node.nodeStageVolume({ volumeId, ...paths() });
    await bench.stopAgent();
    await bench.startAgent();
    const mounting = { volumeId, ...paths(), volumeCapability: writable() };
    await expect(bench.csi.node.nodeStageVolume(mounting)).rejects.toMatchObject(refusal('FAILED_PRECONDITION'));
    await expect(bench.csi.node.nodePublishVolume(mounting)).rejects.toMatchObject(refusal('FAILED_PRECONDITION'));
    await bench.csi.node.nodePublishVolume({ volumeId, ...paths() });
    await bench.csi.node.nodeUnpublishVolume({ volumeId, ...paths() });
    await bench.csi.node.nodeUnstageVolume({ volumeId, ...paths() });
  });

  it('are not mounted, and volumes with a filesystem are no devices', async () => {
    const { controller, node } = bench.csi;
    const raw = await create('raw');
    const plain = await bench.create('plain');
    await expect(bench.create('raw')).rejects.toMatchObject(refusal('ALREADY_EXISTS', 'block'));
    await expect(create('plain')).rejects.toMatchObject(refusal('ALREADY_EXISTS', 'filesystem'));
    for (const [volumeId, wrong, right] of [
      [raw, writable(), block()],
      [plain, block(), writable()],
    ] as const) {
      const publish = { volumeId, nodeId: bench.node, volumeCapability: wrong };
      await expect(controller.controllerPublishVolume(publish)).rejects.toMatchObject(refusal('INVALID_ARGUMENT'));
      const staging = { volumeId, stagingTargetPath: bench.path('staging'), volumeCapability: wrong };
      await expect(node.nodeStageVolume(staging)).rejects.toMatchObject(refusal('FAILED_PRECONDITION'));
      const denied = await controller.validateVolumeCapabilities({ volumeId, volumeCapabilities: [wrong] });
      expect(denied.confirmed).toBeUndefined();
      const confirmed = await controller.validateVolumeCapabilities({ volumeId, volumeCapabilities: [right] });
      expect(confirmed.confirmed).toBeDefined();
    }
    const making = { volumeId: 'new', ...paths(), volumeContext: { create: 'auto' } };
    await expect(node.nodeStageVolume(making)).rejects.toMatchObject(refusal('INVALID_ARGUMENT', 'CreateVolume'));
  });

  it('grow, and their device when the node is told', async () => {
    const volumeId = await create('raw');
    const { controller, node } = bench.csi;
    await node.nodeStageVolume({ volumeId, ...paths() });
    await node.nodePublishVolume({ volumeId, ...paths() });
    const capacityRange = { requiredBytes: 2n * GIB, limitBytes: 2n * GIB };
    const grown = { capacityBytes: 2n * GIB };
    for (let round = 0; round < 2; round += 1)
      expect(await controller.controllerExpandVolume({ volumeId, capacityRange })).toMatchObject({
        ...grown,
        nodeExpansionRequired: true,
      });
    expect(configurations()).toMatchObject([{ maximum_size: storageBytesFor(2 * Number(GIB)) }]);
    expect(await node.nodeExpandVolume({ volumeId, ...paths(), capacityRange })).toMatchObject(grown);
    expect([...bench.blocks.sizes.values()]).toEqual([2 * Number(GIB)]);
    expect((await node.nodeGetVolumeStats({ volumeId, ...paths() })).usage).toMatchObject([{ total: 2n * GIB }]);
    expect(await controller.controllerGetVolume({ volumeId })).toMatchObject({ volume: grown });
  });

  it('are copied as what they are', async () => {
    const { controller } = bench.csi;
    const raw = await create('raw');
    const { snapshot } = await controller.createSnapshot({ sourceVolumeId: raw, name: 'daily' });
    expect(snapshot?.sizeBytes).toBe(GIB);
    const from = (type: object) => ({ volumeContentSource: { type } as object });
    const ofSnapshot = from({ case: 'snapshot', value: { snapshotId: snapshot?.snapshotId ?? '' } });
    const ofVolume = from({ case: 'volume', value: { volumeId: raw } });
    for (const [name, source] of [
      ['restored', ofSnapshot],
      ['clone', ofVolume],
    ] as const) {
      expect(await create(name, source)).toBe(await create(name, source));
      const mounting = { name: `${name}-2`, volumeCapabilities: [writable()], ...source };
      await expect(controller.createVolume(mounting)).rejects.toMatchObject(refusal('INVALID_ARGUMENT', 'block'));
    }
    const plain = from({ case: 'volume', value: { volumeId: await bench.create('plain') } });
    await expect(create('odd', plain)).rejects.toMatchObject(refusal('INVALID_ARGUMENT', 'filesystem'));
    // None that stood between a volume and its clone is left.
    expect(await bench.cluster.flocker.client.listSnapshots({}, AbortSignal.timeout(5_000))).toHaveLength(1);
  });

  it('are known for what they are from snapshots that were not taken here', async () => {
    const raw = await create('raw');
    const { client } = bench.cluster.flocker;
    const signal = AbortSignal.timeout(5_000);
    const { snapshot_id } = await client.createSnapshot({ datasetId: raw as never, metadata: {} }, signal);
    const source = { type: { case: 'snapshot', value: { snapshotId: snapshot_id } } };
    const request = { name: 'copy', volumeCapabilities: [writable()], volumeContentSource: source as object };
    await expect(bench.csi.controller.createVolume(request)).rejects.toMatchObject(
      refusal('INVALID_ARGUMENT', 'block'),
    );
    await create('copy', { volumeContentSource: source });
  });
});
