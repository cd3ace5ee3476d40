import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClientError } from '../client/flocker-client.ts';
import type { NodeId } from '../kit/ids.ts';
import { holder, spec, VolumesBench } from './testing/volumes-bench.ts';

let bench: VolumesBench;
let a: NodeId;

beforeEach(async () => {
  bench = await VolumesBench.create();
  a = bench.flocker.addNode();
});
afterEach(() => bench.close());

const soon = (): AbortSignal => AbortSignal.timeout(5_000);

function idOf(name: string): string {
  const found = [...bench.flocker.cluster.datasets.values()].find(
    ({ configuration }) => configuration.metadata['name'] === name,
  );
  return found?.id ?? 'none';
}

describe('release', () => {
  it('accepts a holder it does not know, and does all volumes of one', async () => {
    const volumes = await bench.volumes(a);
    await volumes.release('run/none');
    await volumes.acquire(holder('run/1'), spec('one'), soon());
    await volumes.acquire(holder('run/1'), spec('two'), soon());
    await volumes.release('run/1');
    await volumes.release('run/1');
    expect(volumes.list()).toEqual([]);
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('deletes of the volumes it made only those that are named', async () => {
    const volumes = await bench.volumes(a);
    await volumes.acquire(holder('run/1'), spec('kept'), soon());
    await volumes.acquire(holder('run/1'), spec('doomed'), soon());
    await volumes.release('run/1', { deleteIfCreatedByHolder: new Set(['doomed']) });
    const left = [...bench.flocker.cluster.datasets.values()].filter(({ configuration }) => !configuration.deleted);
    expect(left.map(({ configuration }) => configuration.metadata['name'])).toEqual(['kept']);
  });

  it('does not wait for a control service that is away, and goes on when it is back', async () => {
    let away = false;
    const volumes = await bench.volumes(
      a,
      {
        releaseLease: (...args) =>
          away
            ? Promise.reject(new ClientError('unreachable', 'no route'))
            : bench.flocker.client.releaseLease(...args),
      },
      { releaseWaitMs: 50 },
    );
    const { datasetId } = await volumes.acquire(holder('run/1'), spec('db'), soon());
    away = true;
    await volumes.release('run/1');
    expect(volumes.list()).toMatchObject([{ volume: 'db', holders: [{ state: 'releasing' }] }]);
    expect(volumes.heldHere(datasetId)).toBeUndefined();
    away = false;
    await vi.waitFor(() => expect(volumes.list()).toEqual([]), { timeout: 3_000 });
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('revives a volume that is still being released', async () => {
    let away = true;
    const volumes = await bench.volumes(
      a,
      {
        releaseLease: (...args) =>
          away
            ? Promise.reject(new ClientError('unreachable', 'no route'))
            : bench.flocker.client.releaseLease(...args),
      },
      { releaseWaitMs: 50 },
    );
    const { datasetId } = await volumes.acquire(holder('dvdcli/db'), spec('db'), soon());
    await volumes.release('dvdcli/db');
    await volumes.acquire(holder('dvdcli/db'), spec('db'), soon());
    away = false;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(volumes.heldHere(datasetId)).toMatchObject([{ holderId: 'dvdcli/db' }]);
    expect(bench.flocker.cluster.leaseOf(datasetId)).toMatchObject({ nodeId: a });
  });

  it('ends an acquire of the holder that is under way', async () => {
    bench.flocker.removeNode(a);
    const volumes = await bench.volumes(a);
    const waiting = volumes.acquire(holder('mesos/c1'), spec('db'), soon());
    const refused = expect(waiting).rejects.toMatchObject({ code: 'released' });
    await vi.waitFor(() => expect(bench.flocker.cluster.leases()).toHaveLength(1));
    await volumes.release('mesos/c1');
    await refused;
    await vi.waitFor(() => expect(volumes.list()).toEqual([]));
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('deletes only what this holder made and nobody else wants', async () => {
    const volumes = await bench.volumes(a);
    const deleted = (name: string): unknown =>
      [...bench.flocker.cluster.datasets.values()].find((one) => one.id === idOf(name))?.configuration.deleted;
    await volumes.acquire(holder('run/1'), spec('mine'), soon());
    await volumes.acquire(holder('run/1'), spec('shared'), soon());
    await volumes.acquire(holder('run/2'), spec('shared'), soon());
    await volumes.acquire(holder('run/2'), spec('kept'), soon());
    await volumes.release('run/1', { deleteIfCreatedByHolder: true });
    await volumes.release('run/2');
    await volumes.acquire(holder('run/3'), spec('kept'), soon());
    await volumes.release('run/3', { deleteIfCreatedByHolder: true });
    expect(['mine', 'shared', 'kept'].map(deleted)).toEqual([true, false, false]);
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });
});
