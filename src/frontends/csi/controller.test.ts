import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VolumesBench } from '../../volumes/testing/volumes-bench.ts';
import { STATUS } from './csi-error.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from './generated/csi_pb.ts';
import { block, CsiBench, mount, writable } from './testing/csi-bench.ts';

const GIB = 1n << 30n;
const refusal = (code: keyof typeof STATUS, text = '') => ({
  code: STATUS[code],
  details: expect.stringContaining(text) as string,
});

describe('Controller', () => {
  let bench: CsiBench;
  beforeEach(async () => {
    bench = await CsiBench.start();
  });
  afterEach(() => bench.close());

  const configurations = () =>
    [...bench.cluster.flocker.cluster.datasets.values()].map(({ configuration }) => configuration);

  it('makes a volume with its size, profile and filesystem, on this node', async () => {
    const answer = await bench.csi.controller.createVolume({
      name: 'webapp',
      capacityRange: { requiredBytes: GIB, limitBytes: 2n * GIB },
      volumeCapabilities: [writable([], 'xfs')],
      parameters: { profile: 'gold', 'csi.storage.k8s.io/fstype': 'xfs', 'csi.storage.k8s.io/pvc/name': 'claim' },
    });
    expect(answer.volume).toMatchObject({
      capacityBytes: GIB,
      accessibleTopology: [{ segments: { 'io.flocker.csi/pool': 'fake' } }],
    });
    expect(configurations()).toMatchObject([
      {
        dataset_id: answer.volume?.volumeId,
        primary: bench.node,
        maximum_size: Number(GIB),
        metadata: {
          name: 'webapp',
          FLOCKER_ID: 'webapp',
          'clusterhq:flocker:profile': 'gold',
          'flocker:filesystem': 'xfs',
        },
      },
    ]);
  });

  it('gives the same volume for the same request, also for 16 at once', async () => {
    const ids = await Promise.all(Array.from({ length: 16 }, () => bench.create('same')));
    expect(new Set(ids).size).toBe(1);
    expect(configurations()).toHaveLength(1);
  });

  it.each([
    ['size', { capacityRange: { requiredBytes: 2n * GIB, limitBytes: 2n * GIB } }],
    ['profile', { parameters: { profile: 'gold' } }],
    ['filesystem', { parameters: { fsType: 'xfs' } }],
    ['topology', { accessibilityRequirements: { requisite: [{ segments: { 'io.flocker.csi/pool': 'other' } }] } }],
  ])('refuses an existing name with another %s', async (_what, more) => {
    await bench.create('webapp');
    await bench.create('webapp');
    const request = {
      name: 'webapp',
      capacityRange: { requiredBytes: GIB },
      volumeCapabilities: [writable()],
      ...more,
    };
    const expected = _what === 'topology' ? 'RESOURCE_EXHAUSTED' : 'ALREADY_EXISTS';
    await expect(bench.csi.controller.createVolume(request)).rejects.toMatchObject(refusal(expected));
  });

  it.each([
    ['no name', { name: '' }, 'INVALID_ARGUMENT', 'name'],
    ['a slash', { name: 'a/b' }, 'INVALID_ARGUMENT', 'slash'],
    ['no capability', { volumeCapabilities: [] }, 'INVALID_ARGUMENT', 'capabilities'],
    ['a misspelt parameter', { parameters: { profil: 'gold' } }, 'INVALID_ARGUMENT', 'profil'],
    ['another filesystem', { parameters: { fsType: 'zfs' } }, 'INVALID_ARGUMENT', 'zfs'],
    ['two filesystems', { volumeCapabilities: [writable([], 'ext4'), writable([], 'xfs')] }, 'INVALID_ARGUMENT', 'one'],
    ['many writers', { volumeCapabilities: [mount(Mode.MULTI_NODE_MULTI_WRITER)] }, 'INVALID_ARGUMENT', 'MULTI_NODE'],
    ['a bad flag', { volumeCapabilities: [writable(['exec,suid'])] }, 'INVALID_ARGUMENT', 'exec,suid'],
    ['mount and block at once', { volumeCapabilities: [writable(), block()] }, 'INVALID_ARGUMENT', 'block'],
    [
      'a block device for many',
      { volumeCapabilities: [block(Mode.MULTI_NODE_MULTI_WRITER)] },
      'INVALID_ARGUMENT',
      'MULTI',
    ],
    ['too little', { capacityRange: { limitBytes: 1024n } }, 'OUT_OF_RANGE', '64 MiB'],
    ['a negative size', { capacityRange: { requiredBytes: -1n } }, 'OUT_OF_RANGE', '-1'],
    [
      'an empty range',
      { capacityRange: { requiredBytes: GIB + 1n, limitBytes: GIB + 1n } },
      'OUT_OF_RANGE',
      'multiples',
    ],
    [
      'no such node',
      { accessibilityRequirements: { requisite: [{ segments: { 'io.flocker.csi/node': randomUUID() } }] } },
      'RESOURCE_EXHAUSTED',
      'node',
    ],
  ] as const)('refuses %s', async (_what, more, code, text) => {
    const request = { name: 'bad', volumeCapabilities: [writable()], ...more };
    await expect(bench.csi.controller.createVolume(request as object)).rejects.toMatchObject(refusal(code, text));
    expect(configurations()).toEqual([]);
  });

  it('makes a volume on the preferred node', async () => {
    const other = bench.cluster.flocker.addNode();
    await bench.csi.controller.createVolume({
      name: 'there',
      volumeCapabilities: [writable()],
      accessibilityRequirements: { preferred: [{ segments: { 'io.flocker.csi/node': other } }] },
    });
    expect(configurations()).toMatchObject([{ primary: other }]);
  });

  it('deletes a volume by its id or name, and what is not there', async () => {
    const id = await bench.create('doomed');
    await bench.csi.controller.deleteVolume({ volumeId: id });
    await bench.csi.controller.deleteVolume({ volumeId: id });
    await bench.create('named');
    await bench.csi.controller.deleteVolume({ volumeId: 'named' });
    await bench.csi.controller.deleteVolume({ volumeId: randomUUID() });
    await bench.csi.controller.deleteVolume({ volumeId: 'what never was' });
    expect(configurations().filter(({ deleted }) => !deleted)).toEqual([]);
    expect(bench.leases).toBe(0);
  });

  it('publishes on one node, says which when another asks, and lets go', async () => {
    const { controller } = bench.csi;
    const other = bench.cluster.flocker.addNode();
    const volumeId = await bench.create('webapp');
    const volumeCapability = writable();
    const answer = await controller.controllerPublishVolume({ volumeId, nodeId: other, volumeCapability });
    expect(answer.publishContext).toEqual({ readOnly: 'false' });
    await controller.controllerPublishVolume({ volumeId, nodeId: other, volumeCapability });
    expect(configurations()).toMatchObject([{ primary: other }]);
    const here = { volumeId, nodeId: bench.node, volumeCapability };
    await expect(controller.controllerPublishVolume(here)).rejects.toMatchObject(refusal('FAILED_PRECONDITION', other));
    await expect(
      controller.controllerPublishVolume({ volumeId, nodeId: other, volumeCapability, readonly: true }),
    ).rejects.toMatchObject(refusal('ALREADY_EXISTS', 'writable'));
    await expect(controller.deleteVolume({ volumeId })).rejects.toMatchObject(refusal('FAILED_PRECONDITION', other));
    const { entries } = await controller.listVolumes({});
    expect(entries).toMatchObject([{ volume: { volumeId }, status: { publishedNodeIds: [other] } }]);
    // Not there: nothing changes.
    await controller.controllerUnpublishVolume({ volumeId, nodeId: bench.node });
    await expect(controller.controllerPublishVolume(here)).rejects.toMatchObject(refusal('FAILED_PRECONDITION'));
    await controller.controllerUnpublishVolume({ volumeId, nodeId: other });
    await controller.controllerUnpublishVolume({ volumeId, nodeId: other });
    await controller.controllerPublishVolume({ ...here, readonly: true });
    await controller.controllerPublishVolume({ ...here, volumeCapability: mount(Mode.SINGLE_NODE_READER_ONLY) });
    await controller.controllerUnpublishVolume({ volumeId, nodeId: '' });
    expect(bench.leases).toBe(0);
  });

  it('lets one of 16 nodes publish', async () => {
    const nodes = Array.from({ length: 16 }, () => bench.cluster.flocker.addNode());
    const volumeId = await bench.create('wanted');
    const outcomes = await Promise.allSettled(
      nodes.map((nodeId) =>
        bench.csi.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability: writable() }, 10_000),
      ),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('refuses to publish what somebody else uses, what is not there, and where nobody is', async () => {
    const other = await CsiBench.start({}, bench.cluster);
    const volumeId = await bench.create('busy');
    await other.volumes.acquire(
      { id: 'test', detail: 'a test' },
      { name: 'busy', create: 'never', mode: 'rw' },
      AbortSignal.timeout(10_000),
    );
    const request = { volumeId, nodeId: bench.node, volumeCapability: writable() };
    const { controller } = bench.csi;
    await expect(controller.controllerPublishVolume(request)).rejects.toMatchObject(
      refusal('FAILED_PRECONDITION', other.node),
    );
    await expect(controller.deleteVolume({ volumeId })).rejects.toMatchObject(refusal('FAILED_PRECONDITION', 'in use'));
    await other.volumes.release('test');
    await expect(controller.controllerPublishVolume({ ...request, nodeId: randomUUID() })).rejects.toMatchObject(
      refusal('NOT_FOUND', 'node'),
    );
    await expect(controller.controllerPublishVolume({ ...request, volumeId: randomUUID() })).rejects.toMatchObject(
      refusal('NOT_FOUND', 'volume'),
    );
    await controller.controllerPublishVolume(request);
    await other.stopAgent();
  });

  it('lists volumes in pages that survive deletions', async () => {
    const { controller } = bench.csi;
    const ids = (await Promise.all([1, 2, 3, 4, 5].map((number) => bench.create(`volume-${number}`)))).sort();
    const first = await controller.listVolumes({ maxEntries: 2 });
    expect(first.entries.map(({ volume }) => volume?.volumeId)).toEqual(ids.slice(0, 2));
    await controller.deleteVolume({ volumeId: ids[1] ?? '' });
    const second = await controller.listVolumes({ maxEntries: 2, startingToken: first.nextToken });
    expect(second.entries.map(({ volume }) => volume?.volumeId)).toEqual(ids.slice(2, 4));
    const last = await controller.listVolumes({ maxEntries: 2, startingToken: second.nextToken });
    expect(last).toMatchObject({ entries: [{ volume: { volumeId: ids[4] } }], nextToken: '' });
    await expect(controller.listVolumes({ startingToken: 'invalid' })).rejects.toMatchObject(refusal('ABORTED'));
  });

  it('tells of one volume, and confirms or denies how it can be used', async () => {
    const { controller } = bench.csi;
    const volumeId = await bench.create('webapp');
    expect(await controller.controllerGetVolume({ volumeId: 'webapp' })).toMatchObject({ volume: { volumeId } });
    const volumeCapabilities = [writable()];
    const confirmed = await controller.validateVolumeCapabilities({ volumeId, volumeCapabilities });
    expect(confirmed.confirmed?.volumeCapabilities).toHaveLength(1);
    const denied = await controller.validateVolumeCapabilities({
      volumeId,
      volumeCapabilities: [mount(Mode.MULTI_NODE_SINGLE_WRITER)],
    });
    expect(denied).toMatchObject({ message: expect.stringContaining('MULTI_NODE') as string });
    expect(denied.confirmed).toBeUndefined();
  });

  it('tells how much room there is, for a profile and a place', async () => {
    const { client } = bench.cluster.flocker;
    const { pools } = await client.storageState(AbortSignal.timeout(5_000));
    const room = async (request: object): Promise<bigint> =>
      (await bench.csi.controller.getCapacity(request)).availableCapacity;
    const known = pools.reduce((sum, { figures }) => sum + (figures.available ?? 0), 0);
    expect(await room({})).toBe(BigInt(known));
    expect(await room({ accessibleTopology: { segments: { 'io.flocker.csi/pool': 'none' } } })).toBe(0n);
    expect(await room({ parameters: { profile: 'no-such' } })).toBe(0n);
    expect(await room({ volumeCapabilities: [mount(Mode.MULTI_NODE_MULTI_WRITER)] })).toBe(0n);
    await expect(room({ parameters: { size: '1' } })).rejects.toMatchObject(refusal('INVALID_ARGUMENT'));
  });

  it('grows a volume, and not beyond the limit', async () => {
    const { controller } = bench.csi;
    const volumeId = await bench.create('growing');
    const grown = await controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 2n * GIB } });
    expect(grown).toMatchObject({ capacityBytes: 2n * GIB, nodeExpansionRequired: false });
    const smaller = await controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: GIB } });
    expect(smaller.capacityBytes).toBe(2n * GIB);
    await expect(
      controller.controllerExpandVolume({ volumeId, capacityRange: { limitBytes: GIB } }),
    ).rejects.toMatchObject(refusal('OUT_OF_RANGE', 'only grows'));
  });

  it('makes, finds and deletes volumes of a Flocker without our additions', async () => {
    const foreign = await CsiBench.start({ pool: undefined as never }, await VolumesBench.create({ additions: false }));
    try {
      const volumeId = await foreign.create('old');
      expect(await foreign.create('old')).toBe(volumeId);
      const { entries } = await foreign.csi.controller.listVolumes({});
      expect(entries).toMatchObject([{ volume: { volumeId, accessibleTopology: [] } }]);
      const request = { volumeId, nodeId: foreign.node, volumeCapability: writable() };
      await foreign.csi.controller.controllerPublishVolume(request);
      await foreign.csi.controller.controllerUnpublishVolume(request);
      await foreign.csi.controller.deleteVolume({ volumeId });
    } finally {
      await foreign.close();
    }
  });
});
