import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDatasetId } from '../../kit/ids.ts';
import { STATUS } from './csi-error.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from './generated/csi_pb.ts';
import { CsiBench, mount, writable } from './testing/csi-bench.ts';

const GIB = 1n << 30n;
const refusal = (code: keyof typeof STATUS, text = '') => ({
  code: STATUS[code],
  details: expect.stringContaining(text) as string,
});

describe('Node', () => {
  let bench: CsiBench;
  beforeEach(async () => {
    bench = await CsiBench.start();
  });
  afterEach(() => bench.close());

  const holders = (): string[] => bench.volumes.list().flatMap((one) => one.holders.map(({ holderId }) => holderId));
  const leaseOf = (id: string) => bench.cluster.flocker.cluster.leaseOf(parseDatasetId(id) ?? ('' as never));

  it('stages, publishes, and undoes both, each as often as it is asked', async () => {
    const id = await bench.create('webapp');
    for (let round = 0; round < 3; round += 1) await bench.stage(id);
    expect(holders()).toEqual(['csi/webapp']);
    expect(leaseOf(id)?.nodeId).toBe(bench.node);
    for (let round = 0; round < 3; round += 1) await bench.publish(id, 'target', { mountFlags: ['noatime'] });
    await bench.publish(id, 'second', { readonly: true });
    expect(bench.mounts.flags).toEqual(
      new Map([
        [bench.path('target'), new Set(['noatime'])],
        [bench.path('second'), new Set(['ro'])],
      ]),
    );
    await expect(bench.unstage(id)).rejects.toMatchObject(refusal('FAILED_PRECONDITION', 'published'));
    for (let round = 0; round < 3; round += 1) await bench.unpublish(id, 'target');
    await bench.unpublish(id, 'second');
    for (let round = 0; round < 3; round += 1) await bench.unstage(id);
    expect(holders()).toEqual([]);
    expect(leaseOf(id)).toBeUndefined();
  });

  it('takes 16 calls at once for one volume, and for many', async () => {
    const id = await bench.create('one');
    const sixteen = Array.from({ length: 16 }, (_, index) => index);
    await Promise.all(sixteen.map(() => bench.stage(id)));
    await Promise.all(sixteen.map((index) => bench.publish(id, `one-${index % 4}`)));
    expect(bench.mounts.flags.size).toBe(4);
    await Promise.all(sixteen.map((index) => bench.unpublish(id, `one-${index % 4}`)));
    const ids = await Promise.all(sixteen.map((index) => bench.create(`many-${index}`)));
    await Promise.all(ids.map((one) => bench.stage(one)));
    await Promise.all(ids.map((one, index) => bench.publish(one, `many-${index}`)));
    expect(bench.mounts.flags.size).toBe(16);
    await Promise.all(ids.map((one, index) => bench.unpublish(one, `many-${index}`)));
    await Promise.all([id, ...ids].map((one) => bench.unstage(one)));
    expect(holders()).toEqual([]);
    expect(bench.leases).toBe(0);
  });

  it('keeps stages and targets through a restart, and ends them when the machine has booted', async () => {
    const id = await bench.create('webapp');
    await bench.stage(id);
    await bench.publish(id, 'target', { readonly: true });
    await bench.stopAgent();
    await bench.startAgent();
    await bench.stage(id);
    await bench.publish(id, 'target', { readonly: true });
    await expect(bench.publish(id, 'target')).rejects.toMatchObject(refusal('ALREADY_EXISTS', 'read-only'));
    await bench.stopAgent();
    bench.mounts.flags.clear();
    await bench.startAgent({ bootId: 'another boot' });
    await expect.poll(() => holders()).toEqual([]);
    // What Kubernetes calls for the pods of the time before.
    await bench.unpublish(id, 'target');
    await bench.unstage(id);
  });

  it('publishes only what is staged, and not two volumes at one target', async () => {
    const id = await bench.create('one');
    const other = await bench.create('other');
    await expect(bench.publish(id, 'target')).rejects.toMatchObject(refusal('FAILED_PRECONDITION', 'not staged'));
    await bench.stage(id);
    await bench.stage(other);
    await bench.publish(id, 'target');
    await expect(bench.publish(other, 'target')).rejects.toMatchObject(refusal('ALREADY_EXISTS', 'one'));
    await expect(bench.unpublish(other, 'target')).rejects.toMatchObject(refusal('FAILED_PRECONDITION', 'left alone'));
    expect(await bench.mounts.isMounted(bench.path('target'))).toBe(true);
  });

  it.each(['relative', '/', '/etc/data', '/proc/self', '/var/lib/x/../../../etc'])(
    'refuses to show a volume at %s',
    async (targetPath) => {
      const volumeId = await bench.create('webapp');
      await bench.stage(volumeId);
      const request = { volumeId, targetPath, stagingTargetPath: bench.path('staging'), volumeCapability: writable() };
      await expect(bench.csi.node.nodePublishVolume(request)).rejects.toMatchObject(refusal('INVALID_ARGUMENT'));
      await expect(bench.csi.node.nodeUnpublishVolume(request)).rejects.toMatchObject(refusal('INVALID_ARGUMENT'));
    },
  );

  it('makes a volume when its context says so, found by its name from then on', async () => {
    await expect(bench.stage('new')).rejects.toMatchObject(refusal('NOT_FOUND', 'create=auto'));
    await expect(bench.stage(randomUUID())).rejects.toMatchObject(refusal('NOT_FOUND'));
    const context = { create: 'auto', size: '2GiB', profile: 'gold', fsType: 'xfs', 'storage.example/other': 'x' };
    await bench.stage('new', context);
    await bench.stage('new', context);
    await bench.stage('new');
    const { datasets } = await bench.cluster.flocker.client.listDatasets(AbortSignal.timeout(5_000));
    expect(datasets).toMatchObject([
      { maximum_size: 2 ** 31, metadata: { name: 'new', 'clusterhq:flocker:profile': 'gold' } },
    ]);
    await bench.unstage(datasets[0]?.dataset_id ?? '');
    expect(holders()).toEqual([]);
    for (const bad of [{ create: 'yes' }, { size: 'big' }, { sise: '1' }, { 'csi.storage.k8s.io/ephemeral': 'true' }])
      await expect(bench.stage('new', bad)).rejects.toMatchObject(refusal('INVALID_ARGUMENT'));
  });

  it('brings a volume from the node that had it, and fails with the name of a node that uses it', async () => {
    const other = await CsiBench.start({}, bench.cluster);
    try {
      const id = await bench.create('wanderer');
      await bench.stage(id);
      const request = { volumeId: id, stagingTargetPath: other.path('staging'), volumeCapability: writable() };
      await expect(other.csi.node.nodeStageVolume(request, 1_000)).rejects.toMatchObject(
        refusal('FAILED_PRECONDITION', bench.node),
      );
      await bench.unstage(id);
      await other.csi.node.nodeStageVolume(request);
      expect(leaseOf(id)?.nodeId).toBe(other.node);
      await other.unstage(id);
    } finally {
      await other.stopAgent();
    }
  });

  it('does not take a volume for another one that had its name and is staged still', async () => {
    const old = await bench.create('webapp');
    await bench.stage(old);
    const { client } = bench.cluster.flocker;
    await client.deleteDataset(parseDatasetId(old) ?? ('' as never), { kind: 'none' }, AbortSignal.timeout(5_000));
    const id = await bench.create('webapp');
    const request = { volumeId: id, stagingTargetPath: bench.path('other'), volumeCapability: writable() };
    await expect(bench.csi.node.nodeStageVolume(request)).rejects.toMatchObject(refusal('FAILED_PRECONDITION', old));
    await bench.unstage(old);
    expect(holders()).toEqual([]);
    await bench.csi.node.nodeStageVolume(request);
    expect(leaseOf(id)?.nodeId).toBe(bench.node);
  });

  it('answers what is staged already while the control service is away', async () => {
    const id = await bench.create('webapp');
    await bench.stage(id);
    let away = false;
    const { client } = bench.cluster.flocker;
    const unlessAway = (name: 'findByName' | 'inspectDataset') => (key: never, signal: AbortSignal) =>
      away ? Promise.reject(new Error('away')) : (client[name] as (...all: unknown[]) => Promise<never>)(key, signal);
    await bench.stopAgent();
    await bench.startAgent({}, { findByName: unlessAway('findByName'), inspectDataset: unlessAway('inspectDataset') });
    await bench.stage(id);
    away = true;
    await bench.stage(id);
    await bench.publish(id, 'target');
    await bench.unpublish(id, 'target');
    await bench.unstage(id);
  });

  it('says what is where only for volumes of this node, at their paths', async () => {
    const volumeId = await bench.create('webapp');
    const stats = (volumePath: string, of = volumeId) =>
      bench.csi.node.nodeGetVolumeStats({ volumeId: of, volumePath });
    await expect(stats(bench.path('target'))).rejects.toMatchObject(refusal('NOT_FOUND', 'not on this node'));
    await expect(stats('/x', randomUUID())).rejects.toMatchObject(refusal('NOT_FOUND'));
    await bench.stage(volumeId);
    await expect(stats('some/path')).rejects.toMatchObject(refusal('NOT_FOUND', 'some/path'));
    const grow = { volumeId, volumePath: bench.path('staging'), capacityRange: { requiredBytes: 2n * GIB } };
    expect(await bench.csi.node.nodeExpandVolume(grow)).toMatchObject({ capacityBytes: 2n * GIB });
  });

  it('refuses what it cannot do', async () => {
    const volumeId = await bench.create('webapp');
    const stagingTargetPath = bench.path('staging');
    const { node } = bench.csi;
    await expect(node.nodeStageVolume({ volumeId, stagingTargetPath })).rejects.toMatchObject(
      refusal('INVALID_ARGUMENT'),
    );
    await expect(
      node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: mount(Mode.MULTI_NODE_MULTI_WRITER) }),
    ).rejects.toMatchObject(refusal('INVALID_ARGUMENT', 'MULTI_NODE'));
    await bench.stopAgent();
    await bench.startAgent({ mounts: undefined as never });
    await bench.stage(volumeId);
    await expect(bench.publish(volumeId, 'target')).rejects.toMatchObject(refusal('FAILED_PRECONDITION', 'root'));
  });

  it('is found at its socket, which only its user can open, and says who and where it is', async () => {
    expect(await bench.modeOf(bench.socketPath)).toBe(0o600);
    expect(await bench.modeOf(bench.path('run'))).toBe(0o700);
    const { identity, node } = bench.csi;
    expect(await identity.getPluginInfo({})).toMatchObject({ name: 'io.flocker.csi', vendorVersion: '1.2.3' });
    expect((await identity.getPluginCapabilities({})).capabilities).toHaveLength(3);
    expect(await node.nodeGetInfo({})).toMatchObject({
      nodeId: bench.node,
      maxVolumesPerNode: 0n,
      accessibleTopology: { segments: { 'io.flocker.csi/pool': 'fake', 'io.flocker.csi/node': bench.node } },
    });
    expect(await identity.probe({})).toMatchObject({ ready: true });
  });

  it('is not ready while the control service does not answer', async () => {
    await bench.stopAgent();
    await bench.startAgent({}, { version: () => Promise.reject(new Error('away')) });
    expect(await bench.csi.identity.probe({})).toMatchObject({ ready: false });
  });

  it('survives what is no gRPC, and never answers with a stack', async () => {
    const socket = connect(bench.socketPath);
    socket.end('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => {
      socket.once('close', resolve).resume();
    });
    await bench.stopAgent();
    const broken = () => Promise.reject(new TypeError('secret of the inside'));
    await bench.startAgent({}, { inspectDataset: broken, findByName: broken });
    await expect(bench.csi.controller.deleteVolume({ volumeId: randomUUID() })).rejects.toMatchObject({
      code: STATUS.INTERNAL,
      details: 'the node agent failed; its log says more',
    });
  });
});
