import type { DatasetId, NodeId } from '../../src/kit/ids.ts';
import type { AcquiredVolume } from '../../src/volumes/volume-spec.ts';
import type { Volumes } from '../../src/volumes/volumes.ts';
import type { SimClock } from './sim-clock.ts';
import type { SimEngine } from './sim-engine.ts';

const ACQUIRE_WITHIN_MS = 60_000;
const WRITE_EVERY_MS = 700;

/** A task that was given its volume and runs. */
interface Running {
  readonly name: string;
  readonly datasetId: DatasetId;
}

/** What tasks know of the volumes of all nodes: how many records were on disk for sure. */
export type Written = Map<DatasetId, number>;

/** Who is told what tasks do. */
export interface TasksTold {
  readonly written: Written;
  readonly count: (what: string) => void;
  readonly began: (id: DatasetId) => void;
}

/** The tasks of one machine. They outlive the agent, and end with the machine. */
export class SimTasks {
  readonly running = new Map<string, Running>();
  readonly #clock: SimClock;
  readonly #engine: SimEngine;
  readonly #node: NodeId;
  readonly #told: TasksTold;
  #number = 0;

  constructor(clock: SimClock, engine: SimEngine, node: NodeId, told: TasksTold) {
    this.#clock = clock;
    this.#engine = engine;
    this.#node = node;
    this.#told = told;
  }

  /** Starts one that wants the volume of that name, and ends it after a while. */
  start(agent: () => Volumes | undefined, name: string, lastsMs: number): void {
    const volumes = agent();
    if (volumes === undefined) return;
    const id = `task/${this.#node}/${(this.#number += 1)}`;
    const gaveUp = new AbortController();
    const cancel = this.#clock.timer(ACQUIRE_WITHIN_MS, () => gaveUp.abort(new Error('the task waited long enough')));
    volumes.acquire({ id, detail: id }, { name, create: 'auto', mode: 'rw' }, gaveUp.signal).then(
      (volume) => {
        cancel();
        this.#began(agent, id, name, volume, lastsMs);
      },
      (error: unknown) => {
        cancel();
        this.#told.count(`task failed: ${(error as { readonly code?: string }).code}`);
      },
    );
  }

  /** The first thing that is wrong with a task that runs. */
  fault(): string | undefined {
    for (const [id, { name, datasetId }] of this.running) {
      const volume = this.#engine.volumes.get(datasetId);
      if (volume?.mountedOn.has(this.#node) !== true)
        return `${id} runs and its volume ${name}, ${datasetId}, is not mounted`;
      const written = this.#told.written.get(datasetId) ?? 0;
      if (volume.records < written) return `${id} finds ${volume.records} of ${written} records in volume ${name}`;
    }
    return undefined;
  }

  /** The machine goes off. */
  powerOff(): void {
    this.running.clear();
  }

  #began(
    agent: () => Volumes | undefined,
    id: string,
    name: string,
    { datasetId }: AcquiredVolume,
    lastsMs: number,
  ): void {
    this.#told.count('task began');
    this.#told.began(datasetId);
    this.running.set(id, { name, datasetId });
    const write = (): void => {
      const volume = this.#engine.volumes.get(datasetId);
      if (!this.running.has(id) || volume === undefined) return;
      volume.records += 1;
      this.#told.written.set(datasetId, volume.records);
      this.#told.count('record written');
      this.#clock.timer(WRITE_EVERY_MS, write);
    };
    write();
    this.#clock.timer(lastsMs, () => {
      // The agent of that time is told, or the next one finds out.
      if (!this.running.delete(id)) return;
      agent()
        ?.release(id)
        .catch(() => this.#told.count('release failed'));
    });
  }
}
