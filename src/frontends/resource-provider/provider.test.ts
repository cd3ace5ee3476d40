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
