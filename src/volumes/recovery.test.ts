import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { NodeId } from '../kit/ids.ts';
import { openLedger } from './ledger.ts';
import { holder, spec, VolumesBench } from './testing/volumes-bench.ts';

let bench: VolumesBench;
let node: NodeId;

beforeEach(async () => {
  bench = await VolumesBench.create();
  node = bench.flocker.addNode();
});
afterEach(() => bench.close());

const soon = (): AbortSignal => AbortSignal.timeout(5_000);

it('keeps holders through a restart, renews their leases first thing and lets frontends say who is dead', async () => {
  const before = await bench.volumes(node);
  const { datasetId } = await before.acquire(holder('run/lives'), spec('one'), soon());
  await before.acquire(holder('run/dead'), spec('one'), soon());
  await before.acquire(holder('run/dead'), spec('two'), soon());
  await before.acquire(holder('mesos/other'), spec('three'), soon());
  await before.note('run/lives', 'a note');
  await before.close();
  for (const lease of bench.flocker.cluster.leases())
    bench.flocker.cluster.dropLease(lease.dataset_id as typeof datasetId);

  const after = await bench.volumes(node);
  expect(after.heldHere(datasetId)?.map((one) => one.holderId)).toEqual(['run/lives', 'run/dead']);
  await vi.waitFor(() => expect(bench.flocker.cluster.leases()).toHaveLength(3));
  const asked: unknown[] = [];
  await after.recover('run/', (holding) => {
    asked.push([holding.holderId, holding.note]);
    return Promise.resolve(holding.holderId === 'run/lives');
  });
  expect(asked).toEqual([
    ['run/lives', 'a note'],
    ['run/dead', null],
    ['run/dead', null],
  ]);
  expect(
    after
      .list()
      .map(({ volume }) => volume)
      .sort(),
  ).toEqual(['one', 'three']);
  expect(bench.flocker.cluster.leases()).toHaveLength(2);
  expect(after.heldHere(datasetId)).toMatchObject([
    { holderId: 'run/lives', state: 'held', path: `/flocker/${datasetId}` },
  ]);
});

it('keeps an intent of a process that died until the frontend says it is nobody', async () => {
  bench.flocker.removeNode(node);
  const before = await bench.volumes(node);
  const waiting = before.acquire(holder('mesos/c1'), spec('db'), soon());
  waiting.catch(() => undefined);
  await vi.waitFor(() => expect(bench.flocker.cluster.leases()).toHaveLength(1));
  const after = await bench.volumes(node);
  expect(after.list()).toMatchObject([
    { volume: 'db', holders: [{ holderId: 'mesos/c1', state: 'intent', created: true }] },
  ]);
  await after.recover('mesos/', () => Promise.resolve(false));
  expect(after.list()).toEqual([]);
  expect(bench.flocker.cluster.leases()).toEqual([]);
});

it('goes on with releases that were begun', async () => {
  const before = await bench.volumes(
    node,
    { releaseLease: () => new Promise(() => undefined) },
    { releaseWaitMs: 10, requestTimeoutMs: 20 },
  );
  await before.acquire(holder('run/1'), spec('db'), soon());
  await before.release('run/1');
  await before.close();
  expect(bench.flocker.cluster.leases()).toHaveLength(1);
  const after = await bench.volumes(node);
  await vi.waitFor(() => expect(after.list()).toEqual([]));
  expect(bench.flocker.cluster.leases()).toEqual([]);
});

it('says that nothing was released when the ledger cannot be written', async () => {
  const ledger = await openLedger(bench.ledgerDirectory(node));
  const volumes = await bench.volumes(node, {}, { ledger });
  const { datasetId } = await volumes.acquire(holder('run/1'), spec('db'), soon());
  await volumes.note('run/1', 'written');
  await ledger.close();
  await expect(volumes.release('run/1')).rejects.toMatchObject({ code: 'ledger_failed' });
  expect(volumes.heldHere(datasetId)).toMatchObject([{ holderId: 'run/1' }]);
  await expect(volumes.acquire(holder('run/2'), spec('db'), soon())).rejects.toMatchObject({ code: 'ledger_failed' });
  expect(bench.flocker.cluster.leases()).toHaveLength(1);
});
