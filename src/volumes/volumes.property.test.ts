import * as fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import type { FlockerClient } from '../client/flocker-client.ts';
import { ClientError } from '../client/flocker-client.ts';
import type { NodeId } from '../kit/ids.ts';
import { openLedger } from './ledger.ts';
import { holder, spec, VolumesBench } from './testing/volumes-bench.ts';
import type { Volumes } from './volumes.ts';

type Step =
  | {
      readonly kind: 'acquire';
      readonly node: number;
      readonly holder: number;
      readonly volume: number;
      readonly waitMs: number;
    }
  | { readonly kind: 'release'; readonly node: number; readonly holder: number }
  | { readonly kind: 'restart' | 'crash'; readonly node: number }
  | { readonly kind: 'pause' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('acquire' as const),
      node: fc.nat(1),
      holder: fc.nat(2),
      volume: fc.nat(2),
      waitMs: fc.integer({ min: 0, max: 60 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), node: fc.nat(1), holder: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('restart' as const, 'crash' as const), node: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'pause' as const }) },
);

/** Breaks as the coin says: below 0.15 before the server has the request, below 0.3 after it did what was asked. */
function flaky(client: FlockerClient, coin: () => number): Partial<FlockerClient> {
  const broken = new ClientError('unreachable', 'the connection broke');
  const maybe = async <T>(work: () => Promise<T>): Promise<T> => {
    const throwAt = coin();
    if (throwAt < 0.15) throw broken;
    const result = await work();
    if (throwAt < 0.3) throw broken;
    return result;
  };
  return {
    findByName: (...args) => maybe(() => client.findByName(...args)),
    createDataset: (...args) => maybe(() => client.createDataset(...args)),
    moveDataset: (...args) => maybe(() => client.moveDataset(...args)),
    acquireLease: (...args) => maybe(() => client.acquireLease(...args)),
    acquireLeaseAndFind: (...args) => maybe(() => client.acquireLeaseAndFind(...args)),
    releaseLease: (...args) => maybe(() => client.releaseLease(...args)),
  };
}

interface Life {
  readonly volumes: Volumes;
  /** As kill -9: no request and no write of it has an effect any more. */
  readonly die: () => Promise<void>;
}

async function play(steps: readonly Step[], coins: readonly number[]): Promise<void> {
  const bench = await VolumesBench.create();
  try {
    const nodes = [bench.flocker.addNode(), bench.flocker.addNode()];
    let toss = 0;
    let faulty = true;
    const coin = (): number => (faulty ? (coins[(toss += 1) % coins.length] ?? 1) : 1);
    const open = async (node: NodeId | undefined): Promise<Life> => {
      if (node === undefined) throw new Error('no such node');
      const ledger = await openLedger(bench.ledgerDirectory(node));
      let dead = false;
      const client = flaky(bench.flocker.client, () => (dead ? 0 : coin()));
      const volumes = await bench.volumes(node, client, { ledger, releaseWaitMs: 20, random: () => 0.5 });
      const die = async (): Promise<void> => {
        dead = true;
        await ledger.close();
      };
      return { volumes, die };
    };
    const lives = [await open(nodes[0]), await open(nodes[1])];
    const life = (index: number): Life => lives[index] as Life;
    const at = (index: number): Volumes => life(index).volumes;
    const pending: Promise<unknown>[] = [];

    const check = (): void => {
      for (const [index, node] of nodes.entries()) {
        for (const { datasetId, holders } of at(index).list()) {
          if (!holders.some((one) => one.state === 'held')) continue;
          expect(bench.flocker.cluster.leaseOf(datasetId)?.nodeId, 'who holds has the lease').toBe(node);
          expect(bench.flocker.cluster.datasets.get(datasetId)?.storage, 'who holds has the mount').toEqual({
            kind: 'held',
            node,
          });
        }
      }
    };

    for (const one of steps) {
      if (one.kind === 'acquire') {
        const who = holder(`run/${one.node}-${one.holder}`);
        const signal = AbortSignal.timeout(one.waitMs);
        pending.push(
          at(one.node)
            .acquire(who, spec(`v${one.volume}`), signal)
            .catch(() => undefined),
        );
      } else if (one.kind === 'release') {
        pending.push(
          at(one.node)
            .release(`run/${one.node}-${one.holder}`)
            .catch(() => undefined),
        );
      } else if (one.kind === 'restart' || one.kind === 'crash') {
        await (one.kind === 'restart' ? at(one.node).close() : life(one.node).die());
        lives[one.node] = await open(nodes[one.node]);
      } else {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      check();
    }
    await Promise.all(pending);
    check();
    const names = [...bench.flocker.cluster.datasets.values()].map((one) => one.configuration.metadata['name']);
    expect(new Set(names).size, 'one volume for each name').toBe(names.length);

    faulty = false;
    const volumes = lives.map((one) => one.volumes);
    for (const one of volumes) {
      await Promise.all(one.list().flatMap(({ holders }) => holders.map(({ holderId }) => one.release(holderId))));
    }
    await vi.waitFor(
      () => {
        for (const one of volumes) expect(one.list()).toEqual([]);
        expect(bench.flocker.cluster.leases()).toEqual([]);
      },
      { timeout: 15_000 },
    );
  } finally {
    await bench.close();
  }
}

it('keeps leases, mounts and holders together through any sequence, and leaves nothing', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 25 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 7, maxLength: 40 }),
      play,
    ),
    { numRuns: 25, interruptAfterTimeLimit: 60_000 },
  );
});
