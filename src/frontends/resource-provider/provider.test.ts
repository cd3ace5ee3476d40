import { afterEach, beforeEach, expect, it } from 'vitest';
import { Framework } from '../../../test/support/mesos/framework.ts';
import { ProviderBench } from '../../../test/support/mesos/provider-bench.ts';
import { MesosProviderManager } from '../../../test/support/mesos-provider-manager.ts';

let manager: MesosProviderManager;
let framework: Framework;
let bench: ProviderBench;
beforeEach(async () => {
  manager = await MesosProviderManager.start();
  framework = new Framework(manager);
  bench = new ProviderBench(manager);
});
afterEach(async () => {
  await bench.close();
  await manager.close();
});

it('comes back after the agent ended, with its id, after a rest', async () => {
  bench.start();
  await manager.untilSubscribed();
  const disk = await framework.made('gold', 128);
  await manager.stop();
  await manager.listen();
  await manager.untilSubscribed();
  expect(framework.disk(disk.disk?.source?.id ?? '')).toMatchObject({ scalar: { value: 128 } });
  expect(manager.subscriptions.map((info) => info['id'] !== undefined)).toEqual([false, true]);
});

it('comes back when only the stream broke', async () => {
  bench.start();
  await manager.untilSubscribed();
  manager.dropStream();
  await manager.until(() => (manager.subscribed ? undefined : true), 'the stream to end');
  await manager.untilSubscribed();
});

it('becomes a new provider of another agent, with its disks, once that agent has refused it for long enough', async () => {
  bench.start();
  await manager.untilSubscribed();
  const disk = await framework.made('gold', 128);
  const id = disk.disk?.source?.id ?? '';
  await manager.stop();
  manager.model.becomeAnother('another-S0');
  await manager.listen();
  bench.storage.datasets = [{ id, name: 'x', profile: 'gold', sizeBytes: 2 ** 27, idleHere: true }];
  await manager.untilSubscribed(60_000);
  expect(framework.disk(id)).toMatchObject({ scalar: { value: 128 }, disk: { source: { type: 'RAW' } } });
  const ids = manager.subscriptions.map((info) => info['id'] !== undefined);
  expect(ids.filter((known) => known).length).toBeGreaterThanOrEqual(3);
  expect(ids.at(-1)).toBe(false);
}, 90_000);

it('waits for an agent that does not know yet who it is', async () => {
  manager.ready = false;
  bench.start();
  await manager.until(() => (manager.refused > 0 ? true : undefined), 'a refused request');
  manager.ready = true;
  await manager.untilSubscribed();
});

it('attaches again when a call is refused', async () => {
  bench.start();
  await manager.untilSubscribed();
  manager.ready = false;
  framework.reserve('gold', 64);
  await manager.until(() => (manager.subscribed ? undefined : true), 'the stream to end');
  manager.ready = true;
  await manager.untilSubscribed();
});
