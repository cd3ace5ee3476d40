import type { FlockerClient } from '../client/flocker-client.ts';
import { backoffMs } from '../kit/backoff.ts';
import { type Clock, pause } from '../kit/clock.ts';
import { orAbort } from '../kit/deadline.ts';
import type { DatasetId, NewUuid, NodeId } from '../kit/ids.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/logger.ts';
import { Catalog } from './catalog.ts';
import type { Holding } from './holding.ts';
import { LeaseKeeper, type LeaseView } from './lease-keeper.ts';
import type { Ledger } from './ledger.ts';
import { Pursuit } from './pursuit.ts';
import { Settler } from './settler.ts';
import { VolumeError } from './volume-error.ts';
import { type AcquiredVolume, checkHolder, checkSpec, type Holder, type VolumeSpec } from './volume-spec.ts';
import { LastSeen, type VolumesWorld } from './volumes-world.ts';

export interface VolumesOptions {
  readonly client: FlockerClient;
  /** This node; asked again until it answers once. */
  readonly nodeId: () => Promise<NodeId> | NodeId;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
  /** Life of a lease; it is renewed after a third of it. 60 unless given. */
  readonly leaseSeconds?: number;
  /**
   * Whether the dataset is really mounted at `path` now. Asked after {@link Volumes.heldHere} counts the holder: a node
   * agent answers when no unmount of it is under way any more. Always true unless given.
   */
  readonly confirmMounted?: (datasetId: DatasetId, path: string, signal: AbortSignal) => Promise<boolean>;
  /** Longest time for one request, milliseconds; 10,000 unless given. */
  readonly requestTimeoutMs?: number;
  /** While waiting for a mount the configuration is looked at again this often, milliseconds; 10,000 unless given. */
  readonly lookAgainMs?: number;
  /** An acquire ends after this long without any answer from the control service, milliseconds; 30,000 unless given. */
  readonly patienceMs?: number;
  /** A release waits at most this long for the control service, milliseconds; 2,000 unless given. */
  readonly releaseWaitMs?: number;
}

/** A volume in use on this node. */
export interface HeldVolume {
  readonly volume: string;
  readonly datasetId: DatasetId;
  readonly path: string | null;
  readonly sizeBytes: number | null;
  readonly lease: LeaseView;
  readonly holders: readonly Holding[];
}

const SETTLE_AGAIN = { firstMs: 250, factor: 2, longestMs: 5_000 };

/** Opens the volumes of this node: leases of recorded holders are renewed first thing, begun releases go on. */
export function openVolumes(options: VolumesOptions): Volumes {
  return new Volumes(options);
}

/** The volumes of this node, for every frontend in this process. */
export class Volumes {
  /** The cluster's volumes by name. */
  readonly catalog: Catalog;
  readonly #world: VolumesWorld;
  readonly #queue = new KeyedQueue<string>();
  readonly #settler: Settler;
  readonly #pursuits = new Set<Pursuit>();
  readonly #releaseWaitMs: number;
  /** Holdings of an earlier process that no frontend has spoken for yet. */
  readonly #inherited: ReadonlySet<Holding>;
  #closed = false;

  constructor(options: VolumesOptions) {
    const { client, ledger, clock, random, newUuid, logger } = options;
    const nodeId = once(options.nodeId);
    const requestTimeoutMs = options.requestTimeoutMs ?? 10_000;
    const leaseSeconds = options.leaseSeconds ?? 60;
    const leases = new LeaseKeeper({ client, nodeId, clock, random, logger, leaseSeconds, requestTimeoutMs });
    this.#world = {
      client,
      nodeId,
      ledger,
      leases,
      clock,
      random,
      newUuid,
      logger,
      requestTimeoutMs,
      confirmsMounts: options.confirmMounted !== undefined,
      confirmMounted: options.confirmMounted ?? (() => Promise.resolve(true)),
      lookAgainMs: options.lookAgainMs ?? 10_000,
      patienceMs: options.patienceMs ?? 30_000,
      lastSeen: new LastSeen(),
      mounts: new Map(),
    };
    this.#releaseWaitMs = options.releaseWaitMs ?? 2_000;
    this.#settler = new Settler(this.#world, this.#queue);
    this.catalog = new Catalog(this.#world, this.#queue);
    this.#inherited = new Set(ledger.all());
    for (const { datasetId } of ledger.all()) leases.adopt(datasetId, ledger.live(datasetId).length > 0);
    for (const { volume, state } of ledger.all()) if (state === 'releasing') void this.#settler.settle(volume);
  }

  /**
   * Resolves once the volume is mounted on this node for the holder; it stays until the holder is released. Acquiring
   * what the holder has already gives the same volume again. Fails with a {@link VolumeError}; then, and when the signal
   * aborts, everything this call took is given back.
   */
  async acquire(holder: Holder, spec: VolumeSpec, signal: AbortSignal): Promise<AcquiredVolume> {
    checkHolder(holder);
    checkSpec(spec);
    if (this.#closed) throw new VolumeError('cancelled', `volume ${spec.name}: the node agent is stopping`);
    const pursuit = new Pursuit(this.#world, holder, spec);
    const onAbort = (): void => pursuit.abandon(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    this.#pursuits.add(pursuit);
    const work = this.#queue.run(spec.name, () => pursuit.run());
    void work
      .catch(() => this.#settler.settle(spec.name))
      .finally(() => {
        this.#pursuits.delete(pursuit);
        signal.removeEventListener('abort', onAbort);
      });
    return orAbort(work, pursuit.abandoned);
  }

  /**
   * Ends all that the holder has; a holder that has nothing is fine. Resolves once that is on disk: what the control
   * service has to be told is tried for a moment and then goes on by itself. The last holder of a volume gives up the
   * lease and leaves the mount. `deleteIfCreatedByHolder`, for all its volumes or those named, deletes a volume that this
   * holder's acquire made, unless somebody else holds it or has its lease by then. Fails with `ledger_failed`; the holder
   * then still holds.
   */
  async release(
    holderId: string,
    options?: { readonly deleteIfCreatedByHolder?: boolean | ReadonlySet<string> },
  ): Promise<void> {
    const { ledger, clock } = this.#world;
    for (const pursuit of this.#pursuits) {
      if (pursuit.holder.id !== holderId) continue;
      pursuit.abandon(
        new VolumeError('released', `${holderId} was released while volume ${pursuit.spec.name} was acquired`),
      );
    }
    const mine = ledger.ofHolder(holderId);
    const ending = mine.filter((holding) => holding.state !== 'releasing');
    const doomed = options?.deleteIfCreatedByHolder ?? false;
    const releasing = ending.map((holding): Holding => {
      const deleteIfCreated = typeof doomed === 'boolean' ? doomed : doomed.has(holding.volume);
      return { ...holding, state: 'releasing', deleteIfCreated };
    });
    if (releasing.length > 0) await ledger.put(...releasing);
    const settled = Promise.all(mine.map((holding) => this.#settler.settle(holding.volume)));
    const enough = new AbortController();
    await Promise.race([settled, pause(clock, this.#releaseWaitMs, enough.signal).catch(() => undefined)]);
    enough.abort();
  }

  /** Resolves once nothing is left to do for a holder that was released; tries again until the signal aborts. */
  async settled(holderId: string, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#world;
    for (let attempt = 0; ; attempt += 1) {
      const left = this.holdings(holderId).filter((holding) => holding.state === 'releasing');
      if (left.length === 0) return;
      await pause(clock, backoffMs(SETTLE_AGAIN, attempt, random), signal);
      await orAbort(Promise.all(left.map(({ volume }) => this.#settler.settle(volume))), signal);
    }
  }

  /** Where a volume is that somebody here holds under a lease that is ours; undefined when that is not sure. */
  heldPath(volume: string): string | undefined {
    const { ledger, leases } = this.#world;
    const held = ledger.ofVolume(volume).find(({ state }) => state === 'held');
    return held === undefined || leases.term(held.datasetId) === undefined ? undefined : (held.path ?? undefined);
  }

  /** What one holder has, also while it is acquired or released. */
  holdings(holderId: string): Holding[] {
    return this.#world.ledger.ofHolder(holderId);
  }

  /**
   * After a restart: asks, for each holder of an earlier process whose id begins with `prefix`, whether it still lives,
   * and releases it when not. A holder whose acquire was under way when that process died has state `intent`.
   */
  async recover(prefix: string, isAlive: (holding: Holding) => Promise<boolean>): Promise<void> {
    const asked = [...this.#inherited].filter((holding) => holding.holderId.startsWith(prefix));
    const dead = new Set<string>();
    for (const holding of asked) {
      if (this.#world.ledger.get(holding.holderId, holding.volume) !== holding || holding.state === 'releasing')
        continue;
      if (!(await isAlive(holding))) dead.add(holding.holderId);
    }
    await Promise.all([...dead].map((holderId) => this.release(holderId)));
  }

  /** Keeps a text with a holder, durably, for the frontend's own recovery. Fails with `bad_holder` when it holds nothing. */
  async note(holderId: string, note: string): Promise<void> {
    const { ledger } = this.#world;
    const mine = ledger.ofHolder(holderId).filter((holding) => holding.state !== 'releasing');
    if (mine.length === 0) throw new VolumeError('bad_holder', `${holderId} holds no volume on this node`);
    await ledger.put(...mine.map((holding): Holding => ({ ...holding, note })));
  }

  /** Who needs the dataset mounted here; undefined when nobody does. While it is defined, it must not be unmounted. */
  heldHere(datasetId: DatasetId): readonly Holding[] | undefined {
    const holdings = this.#world.ledger.claimed(datasetId);
    return holdings.length === 0 ? undefined : holdings;
  }

  /** All volumes that have holders on this node, those being acquired or released included. */
  list(): HeldVolume[] {
    const { ledger, leases } = this.#world;
    const byDataset = new Map<DatasetId, Holding[]>();
    for (const holding of ledger.all()) {
      byDataset.set(holding.datasetId, [...(byDataset.get(holding.datasetId) ?? []), holding]);
    }
    return [...byDataset].map(([datasetId, holders]) => {
      const mounted = holders.find((holding) => holding.path !== null);
      const { path, sizeBytes } = mounted ?? { path: null, sizeBytes: null };
      return { volume: holders[0]?.volume ?? '', datasetId, path, sizeBytes, lease: leases.view(datasetId), holders };
    });
  }

  /** Resolves once everything begun so far has ended, retries that are to come not included. */
  async idle(): Promise<void> {
    await this.#queue.idle();
    await this.#world.leases.idle();
  }

  /** Ends acquires under way and stops renewing. Holders and leases stay as they are, for the next process. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#settler.stop();
    for (const pursuit of this.#pursuits) pursuit.abandon(new Error('the node agent is stopping'));
    await this.#queue.idle();
    await this.#world.leases.close();
    await this.#world.ledger.close();
  }
}

function once(ask: () => Promise<NodeId> | NodeId): () => Promise<NodeId> {
  let known: NodeId | undefined;
  return async () => {
    known ??= await ask();
    return known;
  };
}
