import { expect, it } from 'vitest';
import { flockerClientContract } from '../../../test/contract/flocker-client.ts';
import type { Clock } from '../../kit/clock.ts';
import { parseDatasetId } from '../../kit/ids.ts';
import { fakeFlocker } from './fake-flocker.ts';

for (const additions of [true, false]) {
  flockerClientContract(`fake, ${additions ? 'with' : 'without'} additions`, { additions }, async () => {
    const fake = fakeFlocker({ additions });
    return {
      client: fake.client,
      addNode: () => Promise.resolve(fake.addNode()),
      eraOf: (node) => fake.cluster.eraOf(node),
      close: () => Promise.resolve(fake.close()),
    };
  });
}

it('lets leases expire by the clock it was given', async () => {
  let nowMs = 0;
  const wakes: { readonly atMs: number; readonly wake: () => void }[] = [];
  const clock: Clock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    timer: (delayMs, wake) => {
      wakes.push({ atMs: nowMs + delayMs, wake });
      return () => undefined;
    },
  };
  const fake = fakeFlocker({ clock });
  const { client } = fake;
  const signal = AbortSignal.timeout(5_000);
  const [here, there] = [fake.addNode(), fake.addNode()];
  const made = await client.createDataset({ primary: here, metadata: {} }, { kind: 'none' }, signal);
  const id = parseDatasetId(made.dataset_id);
  if (id === undefined) throw new Error('no id');
  await client.waitUntilMounted(id, here, () => undefined, signal);
  await client.acquireLease({ datasetId: id, nodeId: here, expiresSeconds: 10 }, signal);
  await client.moveDataset(id, there, { kind: 'none' }, signal);
  const problems: string[] = [];
  const moved = client.waitUntilMounted(id, there, (told) => problems.push(told), signal);
  nowMs = 9_999;
  expect(await client.listLeases(signal)).toEqual([{ dataset_id: id, node_uuid: here, expires: 0.001 }]);
  nowMs = 10_001;
  for (const { atMs, wake } of wakes) if (atMs <= nowMs) wake();
  expect((await moved).path).toContain(id);
  expect(await client.listLeases(signal)).toEqual([]);
  expect(problems[0]).toContain('lease');
});
