import type { DatasetInspection } from '../../src/api/inspection.ts';
import type { SnapshotView } from '../../src/api/snapshots.ts';

/** What tasks and users were told, and what must therefore hold. */
export class History {
  /** Dataset → record number → its sum, of records that a task was told are on disk. */
  readonly #written = new Map<string, Map<number, string>>();
  /** Datasets and snapshots whose deletion was asked for: whatever became of them is right. */
  readonly #maybeDeleted = new Set<string>();
  readonly #deleted = new Set<string>();
  readonly #snapshots = new Set<string>();
  readonly #violations: string[] = [];
  #records = 0;
  /** Of each way to volumes: tasks that tried it, and those that ended well. */
  readonly tasks = new Map<string, { tried: number; well: number }>();
  /** What tasks that failed said last, and how often. */
  readonly failures = new Map<string, number>();

  get violations(): readonly string[] {
    return this.#violations;
  }

  /** Records that were acknowledged. */
  get records(): number {
    return this.#records;
  }

  taskFailed(said: string): void {
    const line = said.trim().split('\n').at(-1) ?? '';
    const last = line.replaceAll(/[0-9a-f-]{36}|\/\S*\/c(?=\/)/g, '…').replace(/\. Resolution note:.*$/, '');
    const told = last.slice(0, 160);
    this.failures.set(told, (this.failures.get(told) ?? 0) + 1);
  }

  taskEnded(way: string, well: boolean): void {
    const { tried, well: before } = this.tasks.get(way) ?? { tried: 0, well: 0 };
    this.tasks.set(way, { tried: tried + 1, well: before + Number(well) });
  }

  violated(what: string): void {
    this.#violations.push(what);
  }

  wrote(dataset: string, number: number, sum: string): void {
    const written = this.#written.get(dataset) ?? new Map<number, string>();
    this.#written.set(dataset, written);
    const before = written.get(number);
    if (before !== undefined)
      this.violated(`record ${number} of ${dataset} was written twice: two writers, or a lost one`);
    written.set(number, sum);
    this.#records += 1;
  }

  /** All that a task found; `sums` by number. What was written before it began to read must be there. */
  found(dataset: string, sums: ReadonlyMap<number, string>, writtenBefore: number): void {
    const written = this.#written.get(dataset) ?? new Map<number, string>();
    for (const [number, sum] of written) {
      if (number > writtenBefore) continue;
      if (sums.get(number) !== sum) {
        this.violated(`record ${number} of ${dataset} was acknowledged and is not there (${sums.size} records are)`);
        return;
      }
    }
  }

  lastWritten(dataset: string): number {
    return Math.max(0, ...(this.#written.get(dataset)?.keys() ?? []));
  }

  askedToDelete(id: string): void {
    this.#maybeDeleted.add(id);
  }

  deleted(id: string): void {
    this.#deleted.add(id);
  }

  snapshotTaken(id: string): void {
    this.#snapshots.add(id);
  }

  /** Compares with what the control service says after everything healed. */
  compare(datasets: readonly DatasetInspection[], snapshots: readonly SnapshotView[]): void {
    const byId = new Map(datasets.map((dataset) => [dataset.configuration.dataset_id, dataset]));
    for (const id of this.#written.keys()) {
      const found = byId.get(id);
      if (this.#maybeDeleted.has(id)) continue;
      if (found === undefined || found.configuration.deleted)
        this.violated(`dataset ${id} was never deleted and is gone`);
    }
    for (const id of this.#deleted)
      if (byId.get(id)?.configuration.deleted === false)
        this.violated(`the deletion of ${id} was acknowledged and is lost`);
    const names = new Map<string, string>();
    for (const { configuration } of datasets) {
      const name = configuration.metadata['name'];
      if (configuration.deleted || name === undefined) continue;
      const other = names.get(name);
      if (other !== undefined) this.violated(`${name} is two datasets: ${other} and ${configuration.dataset_id}`);
      names.set(name, configuration.dataset_id);
    }
    const listed = new Set(snapshots.map((snapshot) => snapshot.snapshot_id));
    for (const id of this.#snapshots)
      if (!this.#maybeDeleted.has(id) && !listed.has(id)) this.violated(`snapshot ${id} was acknowledged and is gone`);
  }
}
