import type { DatasetId, NodeId } from '../kit/ids.ts';
import type { DatasetCopies } from '../model/volume-copy.ts';
import { IndexMap } from './index-map.ts';

/** Copies of volumes as decisions read them. */
export interface CopiesView {
  get(dataset: DatasetId): DatasetCopies | undefined;
  all(): Iterable<DatasetCopies>;
  /** Those in which this node copies, or in whose pool something remains. */
  concerning(node: NodeId, pool: string): readonly DatasetCopies[];
}

/** Every copy in memory, by who has to do with it. */
export class Copies implements CopiesView {
  readonly #copies = new Map<DatasetId, DatasetCopies>();
  readonly #byNode = new IndexMap<NodeId, DatasetId>();
  readonly #byPool = new IndexMap<string, DatasetId>();

  get(dataset: DatasetId): DatasetCopies | undefined {
    return this.#copies.get(dataset);
  }

  all(): Iterable<DatasetCopies> {
    return this.#copies.values();
  }

  concerning(node: NodeId, pool: string): readonly DatasetCopies[] {
    const ids = new Set([...this.#byNode.get(node), ...this.#byPool.get(pool)]);
    return [...ids].flatMap((id) => this.#copies.get(id) ?? []);
  }

  put(copies: DatasetCopies): void {
    const before = this.#copies.get(copies.datasetId);
    if (before !== undefined) this.#index(before, 'remove');
    if (isNothing(copies)) this.#copies.delete(copies.datasetId);
    else {
      this.#copies.set(copies.datasetId, copies);
      this.#index(copies, 'add');
    }
  }

  #index({ datasetId, underWay, remains }: DatasetCopies, operation: 'add' | 'remove'): void {
    for (const { pool } of remains) this.#byPool[operation](pool, datasetId);
    if (underWay === null) return;
    this.#byNode[operation](underWay.from, datasetId);
    this.#byNode[operation](underWay.to, datasetId);
  }
}

export function isNothing({ underWay, remains }: DatasetCopies): boolean {
  return underWay === null && remains.length === 0;
}
