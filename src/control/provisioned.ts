import type { NodeId } from '../kit/ids.ts';
import { type Dataset, DEFAULT_SIZE_BYTES, PROFILE_KEY } from '../model/dataset.ts';

/** How many datasets there are and how many bytes were promised to them. */
export interface Provision {
  readonly datasets: number;
  readonly bytes: number;
}

/** Provisions by the name of the profile; null for datasets that name none. */
export type ProvisionByProfile = ReadonlyMap<string | null, Provision>;

/** What was promised, as views read it. */
export interface ProvisionedView {
  /** To datasets whose volume is in a pool. */
  inPool(pool: string): ProvisionByProfile;
  /** To datasets that a node is to make, or just makes: they will be in whatever pool it has. */
  onNode(node: NodeId): ProvisionByProfile;
  readonly total: Provision;
}

export const NO_PROVISION: Provision = { datasets: 0, bytes: 0 };
const NONE: ProvisionByProfile = new Map();

/** Sums that follow each change of a dataset: the figures of a cluster cost the same however many datasets it has. */
export class Provisioned implements ProvisionedView {
  readonly #sums = new Map<string, Map<string | null, Provision>>();
  #total = NO_PROVISION;

  get total(): Provision {
    return this.#total;
  }

  inPool(pool: string): ProvisionByProfile {
    return this.#sums.get(poolKey(pool)) ?? NONE;
  }

  onNode(node: NodeId): ProvisionByProfile {
    return this.#sums.get(nodeKey(node)) ?? NONE;
  }

  add(dataset: Dataset): void {
    this.#count(dataset, 1);
  }

  remove(dataset: Dataset): void {
    this.#count(dataset, -1);
  }

  #count(dataset: Dataset, sign: 1 | -1): void {
    const key = placeOf(dataset);
    if (key === undefined) return;
    const profile = dataset.metadata[PROFILE_KEY] ?? null;
    const change = { datasets: sign, bytes: sign * promisedBytes(dataset) };
    this.#total = plus(this.#total, change);
    let sums = this.#sums.get(key);
    if (sums === undefined) {
      sums = new Map();
      this.#sums.set(key, sums);
    }
    const sum = plus(sums.get(profile) ?? NO_PROVISION, change);
    if (sum.datasets > 0) sums.set(profile, sum);
    else sums.delete(profile);
    if (sums.size === 0) this.#sums.delete(key);
  }
}

export function plus(one: Provision, other: Provision): Provision {
  return { datasets: one.datasets + other.datasets, bytes: one.bytes + other.bytes };
}

/** Undefined for what takes no room and never will. */
function placeOf({ storage: present, primary, deleted }: Dataset): string | undefined {
  const storage = present.kind === 'unconfirmed' ? present.was : present;
  switch (storage.kind) {
    case 'gone':
      return undefined;
    case 'unmade':
      return deleted ? undefined : nodeKey(primary);
    case 'free':
      return poolKey(storage.pool);
    case 'held':
      return storage.pool === null ? nodeKey(storage.node) : poolKey(storage.pool);
  }
}

function promisedBytes({ storage: present, maximumSizeBytes }: Dataset): number {
  const storage = present.kind === 'unconfirmed' ? present.was : present;
  const madeBytes = storage.kind === 'held' || storage.kind === 'free' ? storage.sizeBytes : null;
  if (madeBytes === null || maximumSizeBytes === null) return madeBytes ?? maximumSizeBytes ?? DEFAULT_SIZE_BYTES;
  // One that is to grow was promised what it does not have yet.
  return Math.max(madeBytes, maximumSizeBytes);
}

function poolKey(pool: string): string {
  return `pool/${pool}`;
}

function nodeKey(node: NodeId): string {
  return `node/${node}`;
}
