import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ClientError } from '../client/flocker-client.ts';
import { systemClock } from '../kit/clock.ts';
import type { NodeId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import { LastingHolders } from './lasting-holders.ts';
import { holder, spec, VolumesBench } from './testing/volumes-bench.ts';
import type { Volumes } from './volumes.ts';

let bench: VolumesBench;
let node: NodeId;
beforeEach(async () => {
  bench = await VolumesBench.create();
  node = bench.flocker.addNode();
});
afterEach(() => bench.close());

const soon = (): AbortSignal => AbortSignal.timeout(5_000);
const lasting = (volumes: Volumes, bootId = 'this'): LastingHolders =>
  new LastingHolders({ volumes, prefix: 'docker/', bootId, clock: systemClock, logger: silentLogger });
const leases = (): number => bench.flocker.cluster.leases().length;

it('keeps what was answered through a restart of the agent', async () => {
  const before = await bench.volumes(node);
  const { path } = await lasting(before).acquire(holder('docker/1/db'), spec('db'), soon());
  await before.close();

  const volumes = await bench.volumes(node);
  const after = lasting(volumes);
  expect(after.held('docker/1/db')).toMatchObject([{ volume: 'db', path }]);
  expect(await after.acquire(holder('docker/1/db'), spec('db'), soon())).toMatchObject({ path });
  expect(leases()).toBe(1);
  expect(await after.release('docker/1/db', 1_000)).toBe(true);
  expect(leases()).toBe(0);
});

it('undoes at the start what was never answered', async () => {
  const before = await bench.volumes(node);
  // As a process leaves it that dies between the acquire and the note.
  await before.acquire(holder('docker/1/db'), spec('db'), soon());
  await before.acquire(holder('run/1'), spec('other'), soon());
  await before.close();

  const volumes = await bench.volumes(node);
  expect(lasting(volumes).held('docker/1/db')).toEqual([]);
  await vi.waitFor(() => expect(volumes.list().map(({ volume }) => volume)).toEqual(['other']));
  expect(leases()).toBe(1);
});

it('lets a holder that comes back at once have the volume again', async () => {
  const before = await bench.volumes(node);
  await before.acquire(holder('docker/1/db'), spec('db'), soon());
  await before.close();
  const volumes = await bench.volumes(node);
  const after = lasting(volumes);
  await new Promise((resolve) => setImmediate(resolve));
  await after.acquire(holder('docker/1/db'), spec('db'), soon());
  await volumes.idle();
  expect(after.held('docker/1/db')).toHaveLength(1);
  expect(leases()).toBe(1);
});

it('ends all holders when the machine has booted', async () => {
  const before = await bench.volumes(node);
  await lasting(before, 'earlier').acquire(holder('docker/1/db'), spec('db'), soon());
  await before.close();
  const volumes = await bench.volumes(node);
  lasting(volumes);
  await vi.waitFor(() => expect(volumes.list()).toEqual([]));
  expect(leases()).toBe(0);
});

it('gives back what the caller did not wait for', async () => {
  const volumes = await bench.volumes(node);
  const holders = lasting(volumes);
  const gone = new AbortController();
  const note = vi.spyOn(volumes, 'note').mockImplementationOnce(() => {
    gone.abort(new Error('the client went away'));
    return Promise.resolve();
  });
  await expect(holders.acquire(holder('docker/1/db'), spec('db'), gone.signal)).rejects.toThrow('went away');
  note.mockRestore();
  expect(volumes.list()).toEqual([]);
  expect(leases()).toBe(0);
});

it('says whether a release is through, and tries on', async () => {
  let away = true;
  const volumes = await bench.volumes(
    node,
    {
      releaseLease: (...args) =>
        away ? Promise.reject(new ClientError('unreachable', 'no route')) : bench.flocker.client.releaseLease(...args),
    },
    { releaseWaitMs: 20 },
  );
  const holders = lasting(volumes);
  await holders.acquire(holder('docker/1/db'), spec('db'), soon());
  expect(await holders.release('docker/1/db', 100)).toBe(false);
  const released = holders.release('docker/1/db', 5_000);
  away = false;
  expect(await released).toBe(true);
  expect(leases()).toBe(0);
});
