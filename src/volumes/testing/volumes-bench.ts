import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FlockerClient } from '../../client/flocker-client.ts';
import { type FakeFlocker, fakeFlocker } from '../../client/testing/fake-flocker.ts';
import { type Clock, systemClock } from '../../kit/clock.ts';
import type { NodeId } from '../../kit/ids.ts';
import { silentLogger } from '../../kit/logger.ts';
import { openLedger } from '../ledger.ts';
import type { Holder, VolumeSpec } from '../volume-spec.ts';
import { openVolumes, type Volumes, type VolumesOptions } from '../volumes.ts';

/** A fake cluster, and nodes whose ledgers are real files. */
export class VolumesBench {
  readonly flocker: FakeFlocker;
  readonly clock: Clock;
  readonly #directory: string;
  readonly #open: Volumes[] = [];

  private constructor(directory: string, clock: Clock, additions: boolean) {
    this.#directory = directory;
    this.clock = clock;
    this.flocker = fakeFlocker({ clock, additions });
  }

  static async create(options: { clock?: Clock; additions?: boolean } = {}): Promise<VolumesBench> {
    const directory = await mkdtemp(join(tmpdir(), 'flocker-volumes-'));
    return new VolumesBench(directory, options.clock ?? systemClock, options.additions ?? true);
  }

  ledgerDirectory(node: NodeId): string {
    return join(this.#directory, node);
  }

  /** The volumes of a node, as its agent has them after a start. `faults` replaces methods of the client. */
  async volumes(
    node: NodeId,
    faults: Partial<FlockerClient> = {},
    options: Partial<VolumesOptions> = {},
  ): Promise<Volumes> {
    const volumes = openVolumes({
      client: { ...this.flocker.client, ...faults },
      nodeId: () => node,
      ledger: options.ledger ?? (await openLedger(this.ledgerDirectory(node))),
      clock: this.clock,
      random: Math.random,
      newUuid: randomUUID,
      logger: silentLogger,
      ...options,
    });
    this.#open.push(volumes);
    return volumes;
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((volumes) => volumes.close()));
    this.flocker.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export function holder(id: string): Holder {
  return { id, detail: `test ${id}` };
}

export function spec(name: string, more: Partial<VolumeSpec> = {}): VolumeSpec {
  return { name, create: 'auto', mode: 'rw', ...more };
}
